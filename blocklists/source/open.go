package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rideau/blocklists/input"
	"rideau/blocklists/pack"
)

// regular returns an error unless path is a regular file: to read a pipe or a device could take forever.
func regular(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	return err
}

// opened returns the list for a policy, with functions that open its content. For a list with a URL they are nil.
func (l *List) opened() input.List {
	out := l.List
	switch {
	case l.Pack != "":
		out.Open = func() (io.ReadCloser, error) { return pack.Open(l.Pack) }
	case l.File != "":
		out.Open = func() (io.ReadCloser, error) { return openFile(l.File) }
		out.Include = includeFrom(filepath.Dir(l.File))
	case l.Folder != "":
		out.Parts = func() ([]input.Part, error) { return openFolder(l.Folder, l.Match) }
		out.Include = includeFrom(l.Folder)
	case l.URL == "":
		out.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(l.Text)), nil }
	}
	return out
}

// openFile opens the file of a list.
func openFile(path string) (io.ReadCloser, error) {
	if err := regular(path); err != nil {
		return nil, fmt.Errorf("%w; put the list there, or correct its file in the configuration", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w; let the user that rideau runs as read it", err)
	}
	return f, nil
}

// openFolder returns the files of a folder whose names match a pattern, in the order of their names.
func openFolder(dir, match string) ([]input.Part, error) {
	names, err := folderFiles(dir, match)
	if err != nil {
		return nil, fmt.Errorf("%v; make the folder, or correct it in the configuration", err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no file in %s fits the pattern %q; put the lists there, or correct folder and match", dir, match)
	}
	var parts []input.Part
	for _, path := range names {
		parts = append(parts, input.Part{Name: path, Open: func() (io.ReadCloser, error) { return openFile(path) }})
	}
	return parts, nil
}

// folderFiles returns the paths of the files. It leaves out folders, hidden files, and what editors leave behind.
func folderFiles(dir, match string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		matches, err := filepath.Match(match, name)
		if err != nil || !matches || strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
			continue
		}
		if match == "*" && slices.Contains([]string{".bak", ".tmp", ".new", ".swp", ".minisig"}, filepath.Ext(name)) {
			continue
		}
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		out = append(out, path)
	}
	return out, nil
}

// includeFrom returns a function that finds the files that a list includes. They are inside its folder, also after symbolic links are
// followed.
func includeFrom(dir string) func(name string) (input.Part, error) {
	return func(name string) (input.Part, error) {
		return input.Part{Name: filepath.Join(dir, name), Open: func() (io.ReadCloser, error) {
			root, err := os.OpenRoot(dir)
			if err != nil {
				return nil, err
			}
			defer root.Close()
			info, err := root.Stat(name)
			if err == nil && !info.Mode().IsRegular() {
				err = fmt.Errorf("%s is not a regular file", name)
			}
			if err != nil {
				return nil, err
			}
			return root.Open(name)
		}}, nil
	}
}

// Watched returns the paths whose change may change the list. For a folder these are the folder and its files.
func (l *List) Watched() []string {
	switch {
	case l.Folder != "":
		files, _ := folderFiles(l.Folder, l.Match)
		return append(files, l.Folder)
	case l.File != "" && l.SignatureFile != "":
		return []string{l.File, l.SignatureFile}
	case l.File != "":
		return []string{l.File}
	}
	return nil
}

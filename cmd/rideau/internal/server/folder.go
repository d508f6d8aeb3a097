package server

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rideau/blocklists/input"
	"rideau/config"
)

// openFolder lists the files of a folder whose names fit a pattern, in the order of their names.
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
		parts = append(parts, input.Part{Name: path, Open: func() (io.ReadCloser, error) { return openList(path) }})
	}
	return parts, nil
}

// folderFiles are the paths of the files. Folders in it do not count, nor
// what begins with a dot or is what editors leave behind.
func folderFiles(dir, match string) ([]string, error) {
	entries, err := os.ReadDir(dir) // in the order of the names
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		fits, err := filepath.Match(match, name)
		if err != nil || !fits || strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
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

// includeFrom finds what a list includes: files of its own folder and those below, wherever links lead.
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

// watchedFiles are the paths whose change may change a list: of a folder, itself and its files.
func watchedFiles(l *config.List) []string {
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

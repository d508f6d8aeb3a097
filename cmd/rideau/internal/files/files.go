// Package files says who besides the process's user can read or change a file, so that what decides about queries is not taken from
// somebody else.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Access is who can do what with a file or a folder. Where the system has no owners and modes as Unix has them, nobody else can do
// anything.
type Access struct {
	path string
	// Link is where the path leads if it is a symbolic link; empty if it is none.
	Link string
	// ForeignLink says that the link belongs to a user who is neither the process's nor root.
	ForeignLink bool
	// Owner is the number of the user whose file it is. Own says that it is the process's, Foreign that it is neither that nor root.
	Owner        int
	Own, Foreign bool
	mode         fs.FileMode
}

// Of returns who can do what with a path, after links are followed.
func Of(path string) (Access, error) {
	a := Access{path: path}
	link, err := os.Lstat(path)
	if err != nil {
		return a, err
	}
	if link.Mode()&fs.ModeSymlink != 0 {
		if a.Link, err = os.Readlink(path); err != nil {
			return a, err
		}
		uid, known := owner(link)
		a.ForeignLink = known && uid != 0 && uid != os.Geteuid()
	}
	info, err := os.Stat(path)
	if err != nil {
		return a, err
	}
	a.fill(info)
	return a, nil
}

// ErrLink is the error of a path that is a symbolic link where none is allowed.
var ErrLink = errors.New("it is a symbolic link")

// Open opens a regular file as os.OpenFile does, and returns who can do what with it. It follows no link at the end of the path, and
// waits for nobody. The caller closes the file.
func Open(path string, flag int, mode fs.FileMode) (*os.File, Access, error) {
	a := Access{path: path}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, a, &os.PathError{Op: "open", Path: path, Err: ErrLink}
	}
	f, err := os.OpenFile(path, flag|guarded, mode) // without following what became a link meanwhile
	if err != nil {
		return nil, a, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, a, err
	}
	a.fill(info)
	return f, a, nil
}

func (a *Access) fill(info fs.FileInfo) {
	a.mode, a.Own = info.Mode(), true
	if uid, known := owner(info); known {
		a.Owner, a.Own = uid, uid == os.Geteuid()
		a.Foreign = !a.Own && uid != 0
	} else {
		a.mode &^= 0o077
	}
}

// EveryoneReads reports whether every user can read the file.
func (a *Access) EveryoneReads() bool { return a.mode&0o004 != 0 }

// EveryoneWrites reports whether every user can change the file, or replace the files of the folder.
func (a *Access) EveryoneWrites() bool {
	return a.mode&0o002 != 0 && (!a.mode.IsDir() || a.mode&fs.ModeSticky == 0)
}

// GroupWrites reports whether a group can change the file.
func (a *Access) GroupWrites() bool { return a.mode&0o020 != 0 }

// Reads returns a warning with its remedy if every user can read the file, which nobody else should; empty if not.
func (a *Access) Reads() string {
	if !a.EveryoneReads() {
		return ""
	}
	return fmt.Sprintf("every user can read %s; chmod o-r %s", a.path, a.path)
}

// Writes is like Reads, for changing the file.
func (a *Access) Writes() string {
	if !a.EveryoneWrites() {
		return ""
	}
	return fmt.Sprintf("every user can write %s; chmod o-w %s", a.path, a.path)
}

// Secret returns what is wrong with the file of a secret. The error is that others decide what is in the file; warnings are that others
// can read it, or that it is a link. A link of Kubernetes, which mounts secrets so, is none.
func (a *Access) Secret() (warnings []string, err error) {
	switch {
	case a.ForeignLink:
		return nil, fmt.Errorf("%s is a link of another user, to %s; put the file itself there", a.path, a.Link)
	case a.Foreign:
		return nil, fmt.Errorf("%s belongs to another user, %d; chown it to root or to the user that rideau runs as", a.path, a.Owner)
	case a.EveryoneWrites():
		return nil, errors.New(a.Writes())
	}
	if a.Link != "" && !strings.HasPrefix(filepath.ToSlash(a.Link), "..data/") {
		warnings = append(warnings, fmt.Sprintf("%s is a link to %s; name the file itself, so that nobody can change where the link leads", a.path, a.Link))
	}
	if w := a.Reads(); w != "" {
		warnings = append(warnings, w)
	}
	return warnings, nil
}

// Writable returns an error if the process cannot make files in a folder. With make, the folder need not exist if it can be made.
// Nothing is made.
func Writable(dir string, make bool) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && make && filepath.Dir(dir) != dir:
		return Writable(filepath.Dir(filepath.Clean(dir)), true)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", dir)
	}
	if err := mayWrite(dir); err != nil {
		return &os.PathError{Op: "write to", Path: dir, Err: err}
	}
	return nil
}

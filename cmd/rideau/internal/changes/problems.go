package changes

import (
	"errors"
	"path/filepath"
	"slices"

	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/config"
	"rideau/resolver/ops"
)

// Problems returns the problems of a reload one by one: those of its error, or the lines that were skipped. If there is an error, the lines
// that were skipped in lists without an error are left out: they are not its reason.
func Problems(err error, report compile.Report) []ops.Problem {
	var out []ops.Problem
	var wrong config.Problems
	if errors.As(err, &wrong) {
		for _, p := range wrong {
			out = append(out, ops.Problem{File: p.File, Line: p.Line, Key: p.Key, Message: p.Message, Remedy: p.Remedy})
		}
	}
	if err != nil {
		report.Problems = slices.DeleteFunc(slices.Clone(report.Problems), func(p format.Problem) bool {
			return !slices.ContainsFunc(report.Failed, func(e *compile.ListError) bool { return isOf(p.File, e.Source) })
		})
	}
	return append(out, ops.ListProblems(report)...)
}

// isOf reports whether a file belongs to a list: it is the list's source, or is in its folder and matches the pattern at the end of the source.
func isOf(file, source string) bool {
	fits, err := filepath.Match(source, file)
	return file == source || fits && err == nil
}

// Package report prints what a program checked, one line a check, for the runner to count:
// "ok" or "fail", the name and, of a failure, what went wrong, separated by tabs.
package report

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

var failed bool

// Check reports one check; it failed if err is not nil.
func Check(name string, err error) {
	if err == nil {
		fmt.Printf("ok\t%s\n", name)

		return
	}

	failed = true

	fmt.Printf("fail\t%s\t%s\n", name, strings.Join(strings.Fields(err.Error()), " "))
}

// Fatal says why the program cannot go on, and ends it.
func Fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Exit ends the program, with status 1 if any check failed.
func Exit() {
	if failed {
		os.Exit(1)
	}

	os.Exit(0)
}

// Equal tells how two values differ, if they do.
func Equal[T comparable](what string, got, want T) error {
	if got == want {
		return nil
	}

	return fmt.Errorf("%s is %v, want %v", what, got, want)
}

// SameText tells the first line in which two texts differ, without its content, which may be secret.
func SameText(what, got, want string) error {
	if got == want {
		return nil
	}

	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")

	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			key, _, _ := strings.Cut(gotLines[i], ":")
			wanted, _, _ := strings.Cut(wantLines[i], ":")

			return fmt.Errorf("%s differ in line %d, at %q and %q", what, i+1, strings.TrimSpace(key), strings.TrimSpace(wanted))
		}
	}

	return fmt.Errorf("%s have %d and %d lines", what, len(gotLines), len(wantLines))
}

// First returns the first error of several, as checks go from what is needed to what builds on it.
func First(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}

	return nil
}

// Want turns a missing refusal into an error.
func Want(what string, err error) error {
	if err == nil {
		return errors.New(what + " was accepted")
	}

	return nil
}

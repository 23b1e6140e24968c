package events

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestMissing(t *testing.T) {
	reason := errors.New("away")
	part := &Unpublished{Failed: []int{1, 3}, Err: reason}
	for _, c := range []struct {
		name string
		err  error
		want []int
	}{
		{"all is written", nil, nil},
		{"some failed", part, []int{1, 3}},
		{"wrapped", fmt.Errorf("publish: %w", part), []int{1, 3}},
		{"nobody knows", reason, []int{0, 1, 2, 3}},
	} {
		if got := Missing(c.err, 4); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	if !errors.Is(part, reason) {
		t.Error("the reason is lost")
	}
}

func TestLeft(t *testing.T) {
	reason := errors.New("locked")
	part := &Undone{At: []int{0, 2}, Err: reason}
	for _, c := range []struct {
		name string
		err  error
		want []int
	}{
		{"all is done", nil, nil},
		{"some are left", part, []int{0, 2}},
		{"wrapped", fmt.Errorf("record: %w", part), []int{0, 2}},
		{"nobody knows", reason, []int{0, 1, 2}},
	} {
		if got := Left(c.err, 3); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	if !errors.Is(part, reason) {
		t.Error("the reason is lost")
	}
}

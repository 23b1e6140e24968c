package process

import (
	"strings"
	"testing"
	"time"
)

func TestPublicCheck(t *testing.T) {
	for _, c := range []struct {
		flags Public
		want  []string
	}{
		{Public{DrainDelay: 5 * time.Second}, nil},
		{Public{MaxSockets: 20_000, DrainDelay: maxDrainDelay}, nil},
		{Public{MaxSockets: -1, DrainDelay: -time.Second}, []string{"--max-sockets -1: want 0 to", "--drain-delay -1s: want 0s to 10m0s"}},
		{Public{DrainDelay: maxDrainDelay + 1}, []string{"--drain-delay 10m0.000000001s"}},
	} {
		err := c.flags.Check()
		if (err != nil) != (c.want != nil) {
			t.Errorf("%+v: got %v, want %q", c.flags, err, c.want)
		}
		for _, part := range c.want {
			if err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("%+v: got %q, want %q in it", c.flags, err, part)
			}
		}
	}
}

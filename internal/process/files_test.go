package process

import (
	"strings"
	"testing"
)

func TestAllot(t *testing.T) {
	const kept = keptFiles + 2*keptPerCore // of two cores: 160
	visitors := Need{Flag: "--max-connections 15000", Upgraded: 15000}
	for _, c := range []struct {
		name        string
		limit, most int
		need        Need
		want        int
		err         []string // each within it
	}{
		{"derived", 20_000, 0, visitors, 20_000 - kept - 15_000, nil},
		{"just enough", 15_000 + pageSockets + kept, 0, visitors, pageSockets, nil},
		{"one too few", 15_000 + pageSockets + kept - 1, 0, visitors, 0,
			[]string{"--max-connections 15000: needs 15288 open files", "may open 15287", "raise its limit to 15288", "ulimit", "LimitNOFILE=", "nofile", "or lower that flag"}},
		{"no limit", manyFiles, 0, visitors, spareSockets, nil},
		{"a shop", 1024, 0, Need{}, 1024 - kept, nil},
		{"too few for a shop", 256, 0, Need{}, 0, []string{"the public port: needs 288 open files", "may open 256"}},
		{"set", 20_000, 16_000, visitors, 1_000, nil},
		{"set to all there is", 20_000, 20_000 - kept, visitors, 20_000 - kept - 15_000, nil},
		{"set too high", 20_000, 20_000 - kept + 1, visitors, 0, []string{"--max-sockets 19841: needs 20001 open files", "may open 20000"}},
		{"set too low", 20_000, 15_127, visitors, 0, []string{"--max-sockets 15127: want at least 15128", "--max-connections 15000"}},
		{"the demo on a small machine", 4_096, 0, Need{Flag: "--bots 300", Upgraded: 1_300, Besides: 300}, 4_096 - kept - 1_600, nil},
		{"a great crowd on it", 4_096, 0, Need{Flag: "--bots 5000", Upgraded: 6_000, Besides: 5_000}, 0, []string{"--bots 5000: needs 11288"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := allot(c.limit, 2, c.most, c.need)
			if got != c.want || (err != nil) != (c.err != nil) {
				t.Errorf("got %d, %v; want %d, error %v", got, err, c.want, c.err)
			}
			for _, part := range c.err {
				if err != nil && !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want %q in it", err, part)
				}
			}
		})
	}
}

// Files that nobody counted for would be missing on a machine with more cores,
// where pools are larger.
func TestMoreCoresKeepMore(t *testing.T) {
	few, err := allot(4_096, 2, 0, Need{})
	if err != nil {
		t.Fatal(err)
	}
	many, err := allot(4_096, 64, 0, Need{})
	if err != nil || few-many != 62*keptPerCore {
		t.Errorf("64 cores: got %d, %v, want %d", many, err, few-62*keptPerCore)
	}
}

func TestFileLimit(t *testing.T) {
	if n := fileLimit(); n < 64 || n > manyFiles {
		t.Errorf("got %d files, want a limit that a test can run with", n)
	}
}

package process

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
)

// Build says which build this is, as the Go toolchain stamped it. A build without
// its repository, as in a container, knows no revision unless it is given one by
// -ldflags "-X waitroom/internal/process.version=v1.2.3 -X …process.revision=…",
// as the Dockerfile does.
type Build struct {
	Version   string // of the module: a tag, or a time and a revision; "(devel)" when nobody knows
	Revision  string // of the repository; "unknown" when nobody knows
	Modified  bool   // the sources differed from the revision
	GoVersion string
}

// Set by the linker alone.
var version, revision string

// ReadBuild reads what was stamped.
func ReadBuild() Build {
	b := Build{Version: "(devel)", Revision: "unknown", GoVersion: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.modified":
				b.Modified, _ = strconv.ParseBool(s.Value)
			}
		}
	}
	if version != "" {
		b.Version = version
	}
	if revision != "" {
		b.Revision, b.Modified = revision, false
	}
	return b
}

// String is what --version prints behind the name.
func (b Build) String() string {
	modified := ""
	if b.Modified {
		modified = ", modified"
	}
	return fmt.Sprintf("%s (revision %s%s) %s", b.Version, b.Revision, modified, b.GoVersion)
}

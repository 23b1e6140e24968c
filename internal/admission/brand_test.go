package admission

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waitroom/internal/room"
)

// pngOf is a picture of one colour.
func pngOf(t *testing.T, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.White})); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// webpOf is a WebP's container around the first bytes of one chunk.
func webpOf(kind string, data ...byte) []byte {
	b := append([]byte("RIFF\x00\x00\x00\x00WEBP"+kind), binary.LittleEndian.AppendUint32(nil, uint32(len(data)))...)
	b = append(b, data...)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	return b
}

// The headers are those of the specification's layout: 300 × 200 in each.
var (
	lossy    = webpOf("VP8 ", 0, 0, 0, 0x9d, 0x01, 0x2a, 300&0xff, 300>>8, 200, 0)
	lossless = webpOf("VP8L", 0x2f, byte((299|199<<14)&0xff), byte((299|199<<14)>>8&0xff), byte((299|199<<14)>>16), byte((299|199<<14)>>24), 0)
	extended = webpOf("VP8X", 0, 0, 0, 0, 299&0xff, 299>>8, 0, 199, 0, 0)
)

func TestWebPSize(t *testing.T) {
	for name, b := range map[string][]byte{"lossy": lossy, "lossless": lossless, "extended": extended} {
		if w, h, err := webpSize(b); w != 300 || h != 200 || err != nil {
			t.Errorf("%s: got %d × %d, %v, want 300 × 200", name, w, h, err)
		}
		for cut := range b { // no byte less is enough, and none panics
			if w, h, err := webpSize(b[:cut]); err == nil {
				t.Errorf("%s cut to %d bytes: got %d × %d", name, cut, w, h)
			}
		}
	}
}

func FuzzWebPSize(f *testing.F) {
	f.Add(lossy)
	f.Add(lossless)
	f.Add(extended)
	f.Fuzz(func(t *testing.T, b []byte) {
		if w, h, err := webpSize(b); err == nil && (w < 0 || h < 0 || w > 1<<24 || h > 1<<24) {
			t.Errorf("got %d × %d", w, h)
		}
	})
}

func TestReadBrand(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := pngOf(t, 32, 16)
	write("logo.png", good)
	write("logo.webp", lossy)
	write("cut.png", good[:len(good)-20])
	flipped := bytes.Clone(good)
	flipped[len(flipped)-20] ^= 0xff
	write("flipped.png", flipped)
	write("wide.png", pngOf(t, maxLogoSide+1, 1))
	write("none.webp", webpOf("VP8 ", make([]byte, 10)...))
	write("logo.svg", []byte("<svg xmlns='http://www.w3.org/2000/svg'/>"))
	write("large.png", append(bytes.Clone(good), make([]byte, room.MaxLogo)...))
	empty := write("empty.png", nil)
	for _, c := range []struct {
		file string
		want room.Brand
		bad  []string // within the error; none: read
	}{
		{`{}`, room.Brand{}, nil},
		{`{"accent": "#1C6B5F", "logo": "logo.png"}`, room.Brand{Accent: "#1c6b5f", Logo: good}, nil},
		{`{"logo": "logo.webp"}`, room.Brand{Logo: lossy}, nil},
		{`{"logo": "` + filepath.Join(dir, "logo.png") + `"}`, room.Brand{Logo: good}, nil},
		{`{"accent": "red", "logo": "none.png"}`, room.Brand{}, []string{`accent "red"`, "none.png: no such file"}},
		{`{"logo": "cut.png"}`, room.Brand{}, []string{"broken image/png"}},
		{`{"logo": "flipped.png"}`, room.Brand{}, []string{"broken image/png"}},
		{`{"logo": "none.webp"}`, room.Brand{}, []string{"broken image/webp"}},
		{`{"logo": "wide.png"}`, room.Brand{}, []string{"4097 × 1 pixels: want at most 4096"}},
		{`{"logo": "logo.svg"}`, room.Brand{}, []string{"want a PNG or WebP"}},
		{`{"logo": "large.png"}`, room.Brand{}, []string{"at most 32768 bytes"}},
		{`{"logo": "` + empty + `"}`, room.Brand{}, []string{"want a PNG or WebP"}},
		{`{"colour": "#1c6b5f"}`, room.Brand{}, []string{"unknown field", `"accent"`}},
		{`{} {}`, room.Brand{}, []string{"nothing after it"}},
		{`accent: red`, room.Brand{}, []string{"want JSON"}},
		{strings.Repeat(" ", maxBrandFile) + `{}`, room.Brand{}, []string{"at most 4096 bytes"}},
	} {
		got, err := readBrand(write("brand.json", []byte(c.file)))
		if (err == nil) != (c.bad == nil) {
			t.Errorf("%.80s: got %v, want %q", c.file, err, c.bad)
			continue
		}
		for _, bad := range c.bad {
			if !strings.Contains(err.Error(), bad) {
				t.Errorf("%.80s: got %v, want %q in it", c.file, err, bad)
			}
		}
		if err == nil && (got.Accent != c.want.Accent || !bytes.Equal(got.Logo, c.want.Logo)) {
			t.Errorf("%s: got %+v, want %+v", c.file, got, c.want)
		}
	}
	if _, err := readBrand(filepath.Join(dir, "absent.json")); err == nil {
		t.Error("a file that is absent: got no error")
	}
}

package admission

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"

	"waitroom/internal/room"
)

const (
	// maxBrandFile is far above what its two fields need; a wrong file is not read
	// to its end.
	maxBrandFile = 4 << 10
	// maxLogoSide is in pixels: a page shows a logo some 200 wide, and a browser
	// decodes this many (64 MB) without harm.
	maxLogoSide = 4096
)

// brandFile is what an operator writes: {"accent": "#1c6b5f", "logo": "logo.png"}.
type brandFile struct {
	Accent string `json:"accent"`
	Logo   string `json:"logo"` // path, relative to the file
}

// readBrand reads a brand file and the logo it names; its error has everything that
// is wrong with them, joined.
func readBrand(path string) (room.Brand, error) {
	text, err := readSome(path, maxBrandFile)
	if err != nil {
		return room.Brand{}, err
	}
	var file brandFile
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return room.Brand{}, fmt.Errorf(`want JSON such as {"accent": "#1c6b5f", "logo": "logo.png"}: %w`, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return room.Brand{}, errors.New("want one JSON object and nothing after it")
	}
	brand := room.Brand{Accent: strings.ToLower(file.Accent)}
	var errs []error
	if file.Logo != "" {
		if !filepath.IsAbs(file.Logo) {
			file.Logo = filepath.Join(filepath.Dir(path), file.Logo)
		}
		brand.Logo, err = readSome(file.Logo, room.MaxLogo)
		if err == nil {
			err = checkLogo(brand)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("logo: %w", err))
			brand.Logo = nil // said; the accent is still to be judged
		}
	}
	return brand, errors.Join(append(errs, room.Event{Brand: brand}.Valid())...)
}

// readSome reads a file of at most so many bytes.
func readSome(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("%s: want at most %d bytes", path, most)
	}
	return content, err
}

// checkLogo refuses what a browser would not show. A PNG is decoded whole, once
// its size is known to be bearable; of a WebP only the header is read, since the
// standard library has no decoder for it.
func checkLogo(b room.Brand) error {
	var width, height int
	var err error
	switch b.LogoType() {
	case "image/png":
		header, e := png.DecodeConfig(bytes.NewReader(b.Logo))
		width, height, err = header.Width, header.Height, e
	case "image/webp":
		width, height, err = webpSize(b.Logo)
	default:
		return errors.New("want a PNG or WebP file")
	}
	if err != nil {
		return fmt.Errorf("broken %s: %w", b.LogoType(), err)
	}
	if width < 1 || height < 1 || width > maxLogoSide || height > maxLogoSide {
		return fmt.Errorf("%d × %d pixels: want at most %d × %d", width, height, maxLogoSide, maxLogoSide)
	}
	if b.LogoType() == "image/png" {
		if _, err := png.Decode(bytes.NewReader(b.Logo)); err != nil {
			return fmt.Errorf("broken image/png: %w", err)
		}
	}
	return nil
}

var errWebP = errors.New("no size where WebP's container has it")

// webpSize reads the canvas of a WebP out of its first chunk: VP8 (lossy, RFC 6386
// section 9.1), VP8L (lossless) or VP8X (extended), both of the container's
// specification, RFC 9649 sections 2.5 to 2.7.
func webpSize(b []byte) (width, height int, err error) {
	const first = 12 // behind "RIFF", the length and "WEBP"
	if len(b) < first+8 {
		return 0, 0, errWebP
	}
	// The length counts from behind itself, and is padded to even.
	if told := int64(binary.LittleEndian.Uint32(b[4:])) + 8; told > int64(len(b)) {
		return 0, 0, fmt.Errorf("%d bytes of %d are there", len(b), told)
	}
	kind, data := string(b[first:first+4]), b[first+8:]
	switch {
	case kind == "VP8 " && len(data) >= 10 && string(data[3:6]) == "\x9d\x01\x2a":
		return int(binary.LittleEndian.Uint16(data[6:]) & 0x3fff), int(binary.LittleEndian.Uint16(data[8:]) & 0x3fff), nil
	case kind == "VP8L" && len(data) >= 5 && data[0] == 0x2f:
		bits := binary.LittleEndian.Uint32(data[1:])
		return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1, nil
	case kind == "VP8X" && len(data) >= 10:
		three := func(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
		return three(data[4:]) + 1, three(data[7:]) + 1, nil
	}
	return 0, 0, errWebP
}

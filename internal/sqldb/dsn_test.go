package sqldb

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"waitroom/internal/testenv"
)

// file writes one of the test's and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// authority signs a certificate for 127.0.0.1 and returns the files.
func authority(t *testing.T) (ca, cert, key string) {
	t.Helper()
	sign := func(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, string) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if by == nil {
			by = own
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &own.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		return own, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	now := time.Now()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a test's authority"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "a test's database"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	rootKey, rootText := sign(root, root, nil)
	leafKey, leafText := sign(leaf, root, rootKey)
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, "ca.pem", rootText), file(t, "cert.pem", leafText), file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// A connection by mysqls:// is encrypted, to the host that the certificate names, signed
// by whom we trust; and else there is none.
func testTLS(t *testing.T, server *testenv.MariaDB, ca string) {
	stranger, _, _ := authority(t)
	secured := strings.Replace(server.DSN(), "mysql://", "mysqls://", 1)
	for _, c := range []struct {
		what   string
		config Config
		says   string // "" for a good one
	}{
		{"our authority", Config{DSN: secured, CA: ca}, ""},
		{"a stranger's", Config{DSN: secured, CA: stranger}, "unknown authority"},
		{"the system's", Config{DSN: secured}, "unknown authority"},
		{"another name", Config{DSN: strings.Replace(secured, "127.0.0.1", "localhost", 1), CA: ca}, "wanted to match localhost"},
		{"no TLS there", Config{DSN: strings.Replace(testenv.MySQL(t), "mysql://", "mysqls://", 1)}, "does not support TLS"},
	} {
		begun := time.Now()
		db, err := c.config.Open(t.Context())
		if c.says != "" {
			if err == nil {
				db.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, ErrAway) || time.Since(begun) > slack {
				t.Errorf("%s: got %v, want at once an error with %q", c.what, err, c.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: got %v, want a connection", c.what, err)
			continue
		}
		var name, cipher string
		if err := db.QueryRowContext(t.Context(), "SHOW STATUS LIKE 'Ssl_cipher'").Scan(&name, &cipher); err != nil || cipher == "" {
			t.Errorf("%s: got cipher %q, %v, want one", c.what, cipher, err)
		}
		db.Close()
	}
}

// A password is read for each new connection: one that is changed is used without a
// restart, and meanwhile the database is away. It is never told.
func testPasswordFile(t *testing.T, server *testenv.MariaDB) {
	server.Exec("CREATE USER other@'%' IDENTIFIED BY 'the first word'", "GRANT ALL ON shop.* TO other@'%'")
	secret := file(t, "password", "the first word\n")
	config := Config{DSN: "mysql://other@" + server.Addr() + "/shop", PasswordFile: secret}
	db, err := config.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fresh := func() error { // over a new connection
		db.SetMaxIdleConns(0)
		db.SetMaxIdleConns(conns)
		_, err := db.Write(t.Context(), "DO 1")
		return err
	}
	away := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrAway) || strings.Contains(err.Error(), "word,") || strings.Contains(err.Error(), "first word") {
			t.Errorf("%s: got %v, want ErrAway without a password", what, err)
		}
	}
	server.Exec("ALTER USER other@'%' IDENTIFIED BY 'word, the second'")
	away("the old password", fresh())
	if err := os.Remove(secret); err != nil {
		t.Fatal(err)
	}
	away("no file", fresh())
	if err := os.WriteFile(secret, []byte("word, the second\r\nand a comment"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fresh(); err != nil {
		t.Errorf("the new password: %v", err)
	}
	// At a start a wrong one is an error at once.
	if err := os.WriteFile(secret, []byte("the first word"), 0o600); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 3*slack)
	defer cancel()
	if _, err := config.Open(ctx); err == nil || strings.Contains(err.Error(), "first word") || time.Since(begun) > slack {
		t.Errorf("a wrong one at the start: got %v after %v, want an error at once without the password", err, time.Since(begun))
	}
}

func TestCheck(t *testing.T) {
	ca, _, _ := authority(t)
	secret, empty := file(t, "password", "s3cret\n"), file(t, "empty", "\n")
	for _, c := range []struct {
		config Config
		says   string // "" for a good one
	}{
		{Config{DSN: "sqlite:a.db"}, ""},
		{Config{DSN: "mysql://u:s3cret@h/shop"}, ""},
		{Config{DSN: "mysql://u@h/shop", PasswordFile: secret}, ""},
		{Config{DSN: "mysqls://u@h/shop", PasswordFile: secret, CA: ca}, ""},
		{Config{DSN: "mysqls://u:s3cret@h/shop"}, ""},
		{Config{DSN: "mysqls://u:s3cret@h"}, "--db: "},
		{Config{DSN: "mysql://u:s3%cret@h/shop", PasswordFile: secret}, "--db: "},
		{Config{DSN: "mysql://u:s3cret@h/shop", PasswordFile: secret}, "--db-password-file: the URL has a password as well"},
		{Config{DSN: "mysql://u@h/shop", PasswordFile: secret + "no"}, "--db-password-file: open"},
		{Config{DSN: "mysql://u@h/shop", PasswordFile: empty}, "--db-password-file: " + empty},
		{Config{DSN: "sqlite:a.db", PasswordFile: secret}, "--db-password-file: is for MySQL"},
		{Config{DSN: "mysql://u:s3cret@h/shop", CA: ca}, "--db-ca: is for TLS only"},
		{Config{DSN: "mysqls://u:s3cret@h/shop", CA: secret}, "--db-ca: " + secret},
		{Config{DSN: "mysqls://u:s3cret@h/shop", CA: ca + "no"}, "--db-ca: open"},
	} {
		err := c.config.Check()
		if (err == nil) != (c.says == "") || err != nil && (!strings.HasPrefix(err.Error(), c.says) || strings.Contains(err.Error(), "s3cret@") || strings.Contains(err.Error(), "cret@h")) {
			t.Errorf("%+v: got %v, want %q", c.config, err, c.says)
		}
	}
}

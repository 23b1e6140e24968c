package payment

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// needle is in the card and in the key, and must be in no error and no line of the log.
const needle = "n33dle"

// raw answers every connection with a text as it is, once a request has begun.
func raw(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with the listener, awaited below
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096)) // a request, or a part of one
			_, _ = io.WriteString(c, text)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

// A service that echoes card and key in every way a service can fail.
func TestNothingSecretIsSaid(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	secure := httptest.NewUnstartedServer(says(200, "text/plain", needle))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshake that fails on purpose
	secure.TLS = &tls.Config{}
	secure.StartTLS()
	defer secure.Close()
	echo := func(status int, kind, form string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body) // of a few bytes
			quoted, _ := json.Marshal(r.Header.Get("Authorization") + string(body))
			w.Header().Set("Location", "http://"+needle+".example/")
			says(status, kind, strings.ReplaceAll(form, "%", string(quoted)))(w, r)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	hang := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the client go
		<-r.Context().Done()
	}))
	defer hang.Close()
	const isJSON = "application/json"
	for what, url := range map[string]string{
		"nobody listens":        gone.URL,
		"another certificate":   secure.URL,
		"no HTTP":               raw(t, needle+"\r\n\r\n"),
		"a bad status":          raw(t, "HTTP/1.1 "+needle+"\r\n\r\n"),
		"a bad header":          raw(t, "HTTP/1.1 200 OK\r\n"+needle+"\r\n\r\n"),
		"a bad length":          raw(t, "HTTP/1.1 200 OK\r\nContent-Length: "+needle+"\r\n\r\n"),
		"a bad encoding":        raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "+needle+"\r\n\r\n"),
		"a long header":         raw(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat(needle, maxHeader)+"\r\n\r\n"),
		"half a body":           raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+needle),
		"a bad chunk":           raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+needle+"\r\n"),
		"silence":               hang.URL,
		"nothing":               raw(t, ""),
		"HTML":                  echo(200, "text/html", "%"),
		"a kind":                echo(200, needle, "%"),
		"no JSON":               echo(200, isJSON, needle+"%"),
		"a field of a bad kind": echo(200, isJSON, `{"amount":%}`),
		"a state":               echo(200, isJSON, `{"key":"attempt-00000001","id":"pay_1","state":%,"amount":4500,"currency":"EUR"}`),
		"an id":                 echo(200, isJSON, `{"key":"attempt-00000001","id":%,"state":"authorised","amount":4500,"currency":"EUR"}`),
		"a key":                 echo(200, isJSON, `{"key":%,"id":"pay_1","state":"authorised","amount":4500,"currency":"EUR"}`),
		"a currency":            echo(200, isJSON, `{"key":"attempt-00000001","id":"pay_1","state":"authorised","amount":4500,"currency":%}`),
		"a reason":              echo(200, isJSON, `{"key":"attempt-00000001","id":"pay_1","state":"declined","amount":4500,"currency":"EUR","reason":%}`),
		"a code":                echo(422, isJSON, `{"code":%,"detail":%}`),
		"a code of a conflict":  echo(409, isJSON, `{"code":"`+needle+`","detail":%}`),
		"500":                   echo(500, "text/html", "%"),
		"401":                   echo(401, isJSON, `{"code":%}`),
		"a redirect":            echo(307, isJSON, "%"),
		"a name that is not":    "http://" + "psp.invalid",
	} {
		t.Run(what, func(t *testing.T) {
			var lines strings.Builder
			core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&lines), zap.DebugLevel)
			limit := 300 * time.Millisecond // of this machine, for what does not answer
			c := client(t, Config{URL: url, Key: needle, Log: zap.New(core), Trip: 1000,
				Limits: Limits{Authorise: limit, Look: limit}})
			c.outage.Note(t.Context(), nil)
			said := func(r Result, err error) {
				t.Helper()
				if err == nil && r.Outcome != Declined {
					t.Errorf("got %+v and no error", r)
				}
				for e := err; e != nil; e = unwrap(e) {
					if text := fmt.Sprintf("%v %+v %#v %+v", e, e, e.Error(), r); strings.Contains(text, needle) {
						t.Errorf("it is said: %s", text)
					}
				}
			}
			method := Method{Token: needle, Return: "https://shop.example/" + needle}
			said(c.Authorise(t.Context(), theAttempt, method))
			said(c.Look(t.Context(), theAttempt))
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			said(c.Authorise(ctx, theAttempt, method))
			// The outage's line comes by itself after two seconds of failures; here its cause is
			// logged as it is.
			_, err := c.Look(t.Context(), theAttempt)
			zap.New(core).Error("failed", zap.Error(err), zap.Any("method", method), zap.Any("key", c.key), zap.Any("token", method.Token))
			text := lines.String()
			if strings.Contains(strings.ReplaceAll(text, "https://shop.example/"+needle, ""), needle) || !strings.Contains(text, "***") {
				t.Errorf("the log says it: %s", text)
			}
		})
	}
	for _, text := range []string{fmt.Sprint(Secret(needle)), fmt.Sprintf("%q %x %#v %+v", Secret(needle), Secret(needle), Secret(needle), Method{Token: needle})} {
		if strings.Contains(text, needle) || strings.Contains(text, fmt.Sprintf("%x", needle)) {
			t.Errorf("printed as %s", text)
		}
	}
}

func unwrap(err error) error {
	if many, is := err.(interface{ Unwrap() []error }); is {
		all := many.Unwrap()
		return all[len(all)-1] // the cause; those before are sentinels
	}
	one, is := err.(interface{ Unwrap() error })
	if !is {
		return nil
	}
	return one.Unwrap()
}

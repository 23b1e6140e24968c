package main

import (
	"context"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/outage"
	"waitroom/internal/process"
)

// keysEvery is how soon a booker without keys asks for them again: soon after a
// waiting room that starts beside it, and no load for one that is in trouble.
const keysEvery = 2 * time.Second

// keys is what can verify passes once it has loaded a key; token.Verifier is one.
type keys interface {
	Load(context.Context) error
}

// awaitKeys returns true once a key that verifies passes is known, and false when
// ctx has ended. Until then every pass is answered with `unavailable`, so the log
// says why and what to do.
func awaitKeys(ctx context.Context, log *zap.Logger, where string, keys keys) bool {
	none := outage.New(outage.Config{Log: log.With(zap.String("jwks", process.Redact(where))),
		Down: "not ready: no key that verifies passes, so every visitor is refused; start the waiting room, " +
			"or point --jwks at its /.well-known/jwks.json (behind its --prefix, if it has one)",
		Up: "a key that verifies passes is known"})
	for {
		err := keys.Load(ctx)
		if ctx.Err() != nil {
			return false
		}
		none.Note(ctx, err)
		if err == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(keysEvery):
		}
	}
}

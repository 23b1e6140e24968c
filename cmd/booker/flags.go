package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/booking"
	"waitroom/internal/hostport"
	"waitroom/internal/kafkaio"
	"waitroom/internal/process"
	"waitroom/internal/sqldb"
)

// database are the flags that both commands know.
type database struct {
	DB           string `help:"Database: mysql://user:password@host:port/name, mysqls:// for TLS, or sqlite:path/to/file.db for one booker on one machine." default:"sqlite:waitroom.db" env:"WAITROOM_DB"`
	PasswordFile string `name:"db-password-file" help:"File with the password of the database; read again for each new connection." placeholder:"FILE" env:"WAITROOM_DB_PASSWORD_FILE"`
	CA           string `name:"db-ca" help:"PEM file of the authorities that may sign the database's certificate, instead of the system's." placeholder:"FILE" env:"WAITROOM_DB_CA"`
}

func (d database) config() sqldb.Config {
	return sqldb.Config{DSN: d.DB, PasswordFile: d.PasswordFile, CA: d.CA}
}

// Check reports what no driver would understand, without the URL, which may hold a
// password.
func (d database) Check() error { return d.config().Check() }

// open waits for the database until ctx ends.
func (d database) open(ctx context.Context) (*sqldb.DB, error) {
	db, err := d.config().Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("--db: %w", err)
	}
	return db, nil
}

// servers are the flags of run about what is in front and behind.
type servers struct {
	Database    database `embed:""`
	Kafka       []string `help:"Kafka brokers, with commas." default:"127.0.0.1:9092" env:"WAITROOM_KAFKA"`
	Replication int      `help:"Replicas of topics that are made because they are missing." default:"1" env:"WAITROOM_REPLICATION"`
	JWKS        string   `name:"jwks" help:"Public keys that verify passes: the waiting room's URL, or a file." default:"http://127.0.0.1:8080/.well-known/jwks.json" env:"WAITROOM_JWKS"`
	Listen      string   `help:"Address for visitors." default:":8082" env:"WAITROOM_LISTEN"`
	OpsListen   string   `help:"Address for /metrics, /healthz, /readyz and /debug/pprof; keep it private." default:"127.0.0.1:9182" env:"WAITROOM_OPS_LISTEN"`
	Prefix      string   `help:"Path in front of /rooms, such as /tickets." env:"WAITROOM_PREFIX"`
	WaitingURL  string   `help:"Where the seat page sends a visitor without a pass, with {room} for the name." default:"http://127.0.0.1:8080/rooms/{room}" env:"WAITROOM_WAITING_URL"`
	APIDocs     bool     `name:"api-docs" help:"Serve the contracts of the API and of the events, and a page that shows the API's, under {prefix}/api/." env:"WAITROOM_API_DOCS"`
}

var prefixPattern = regexp.MustCompile(`^(/[a-zA-Z0-9._-]+)*$`)

// Check reports every value that can be told wrong without opening anything.
func (s servers) Check() error {
	errs := []error{process.CheckListen("listen", s.Listen), process.CheckListen("ops-listen", s.OpsListen), hostport.Servers("--kafka", s.Kafka)}
	if s.Replication < 1 || s.Replication > 9 {
		errs = append(errs, fmt.Errorf("--replication %d: want 1 to 9", s.Replication))
	}
	if u, err := url.Parse(s.JWKS); s.JWKS == "" || err != nil {
		errs = append(errs, errors.New("--jwks: want a URL or a file"))
	} else if u.Scheme != "http" && u.Scheme != "https" {
		if _, err := os.Stat(s.JWKS); err != nil {
			errs = append(errs, fmt.Errorf("--jwks: %w", err))
		}
	}
	if !prefixPattern.MatchString(s.Prefix) {
		errs = append(errs, fmt.Errorf("--prefix %q: want a path without a slash at its end", s.Prefix))
	}
	return errors.Join(errs...)
}

// admissions is this booker's member of the group that reads admissions.
func (s servers) admissions(client string, reg prometheus.Registerer, log *zap.Logger) *kafkaio.Consumer {
	return kafkaio.NewConsumer(kafkaio.ConsumerConfig{Brokers: s.Kafka, Group: booking.Group, Topics: booking.Reads,
		ClientID: client, Log: log, Metrics: reg, Subsystem: "booker"})
}

var _ process.Checker = servers{}

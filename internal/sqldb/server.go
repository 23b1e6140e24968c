package sqldb

import (
	"context"
	"fmt"
	"strings"
)

// ForUpdate is what a SELECT ends with that locks its rows until the transaction ends:
// rows that another has locked are waited for, or left out with skip. It is empty on
// SQLite, where a transaction that writes is the only one.
func (db *DB) ForUpdate(skip bool) string {
	switch {
	case db.Dialect == SQLite:
		return ""
	case skip:
		return " FOR UPDATE SKIP LOCKED"
	}
	return " FOR UPDATE"
}

// The oldest servers that know SKIP LOCKED.
var oldest = map[bool]struct {
	name         string
	major, minor int
}{
	true:  {"MariaDB", 10, 6},
	false: {"MySQL", 8, 0},
}

// checkVersion refuses a server, by its VERSION(), that is too old.
func checkVersion(version string) error {
	want := oldest[strings.Contains(version, "MariaDB")]
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("version %q: want %s %d.%d or newer", version, want.name, want.major, want.minor)
	}
	if major < want.major || major == want.major && minor < want.minor {
		return fmt.Errorf("%s %d.%d has no SKIP LOCKED: want %d.%d or newer", want.name, major, minor, want.major, want.minor)
	}
	return nil
}

// Warnings reads the settings of the server that decide whether what a visitor was told
// survives it, and says of each bad one what it means and what to set. The caller asks at
// its start and every few minutes, since servers are reconfigured and replaced.
func (db *DB) Warnings(ctx context.Context) ([]string, error) {
	if db.Dialect == SQLite {
		return nil, nil // its settings are our own
	}
	var rows []struct {
		Name  string `db:"Variable_name"`
		Value string `db:"Value"`
	}
	err := db.SelectContext(ctx, &rows, `SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'read_only',
		'innodb_read_only', 'innodb_flush_log_at_trx_commit', 'innodb_doublewrite', 'log_bin', 'sync_binlog')`)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(rows))
	for _, r := range rows {
		values[r.Name] = strings.ToUpper(r.Value)
	}
	return warnings(values), nil
}

// warnings judges variables by name, their values in capitals. One that the server does
// not have is not judged.
func warnings(values map[string]string) (list []string) {
	if v, ok := values["version"]; ok {
		if err := checkVersion(strings.Replace(v, "MARIADB", "MariaDB", 1)); err != nil {
			list = append(list, err.Error())
		}
	}
	on := func(name string) bool { v := values[name]; return v != "" && v != "OFF" && v != "0" }
	for _, name := range []string{"read_only", "innodb_read_only"} {
		if on(name) {
			list = append(list, name+" is on: nothing can be held or sold here; point --db at the server that writes, or take "+name+" back there")
		}
	}
	if v := values["innodb_flush_log_at_trx_commit"]; v != "" && v != "1" {
		list = append(list, "innodb_flush_log_at_trx_commit is "+v+": a crash loses up to a second of bookings that visitors were told; SET GLOBAL innodb_flush_log_at_trx_commit = 1")
	}
	if v := values["innodb_doublewrite"]; v == "OFF" || v == "0" {
		list = append(list, "innodb_doublewrite is off: a power cut can tear a page and with it the database; set innodb_doublewrite = ON, unless the disk writes pages whole")
	}
	if v := values["sync_binlog"]; on("log_bin") && v != "" && v != "1" {
		list = append(list, "sync_binlog is "+v+" with a binary log: after a power cut replicas and copies lack bookings that this server has; SET GLOBAL sync_binlog = 1, or know why not")
	}
	return list
}

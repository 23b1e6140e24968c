// Package testenv hands tests the real servers: Redis, Apache Kafka and MySQL
// or MariaDB, named by WAITROOM_TEST_REDIS, WAITROOM_TEST_KAFKA and
// WAITROOM_TEST_DB. `eval "$(scripts/services env)"` sets all three. A Redis Cluster,
// WAITROOM_TEST_REDIS_CLUSTER, is there when it was started by name: `scripts/services
// start cluster`.
//
// A variable that is not set skips the test with one line. A variable that is
// set promises a server: if none answers there, the test fails, since a suite
// that skips itself when a server is down proves nothing.
//
// Test processes of all packages share the servers and run at once, so nothing
// may be flushed and nothing may have a fixed name: a test takes a [Room], a
// [Topic] and a database ([MySQL]) of its own, and they are removed when it
// ends. A test that acts on all rooms of a Redis, or takes Redis away, starts
// one of its own with [StartRedis]; so does [StartRedisCluster].
//
// When WAITROOM_TEST_COUNT names a file, each server handed out appends a line
// `redis <test>`, `cluster <test>`, `kafka <test>` or `db <test>` to it: .ci/run
// fails when one of them is absent.
package testenv

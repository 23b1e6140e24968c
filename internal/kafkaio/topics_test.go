package kafkaio

import (
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topics that exist ask for no right to make any; of several the missing alone
// are made.
func TestEnsureMakesTheMissingOnly(t *testing.T) {
	cluster := fakeCluster(t)
	brokers := cluster.ListenAddrs()
	if err := EnsureTopics(within(t), brokers, 1, "there"); err != nil {
		t.Fatal(err)
	}
	made := make(chan []kmsg.CreateTopicsRequestTopic, 10)
	cluster.ControlKey(int16(kmsg.CreateTopics), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		request := r.(*kmsg.CreateTopicsRequest)
		made <- request.Topics
		for _, topic := range request.Topics {
			if topic.Topic != "there" {
				return nil, nil, false
			}
		}
		reply := request.ResponseKind().(*kmsg.CreateTopicsResponse)
		for _, topic := range request.Topics {
			answer := kmsg.NewCreateTopicsResponseTopic()
			answer.Topic, answer.ErrorCode = topic.Topic, int16(kafka.TopicAuthorizationFailed)
			reply.Topics = append(reply.Topics, answer)
		}
		return reply, nil, true
	})
	if err := EnsureTopics(within(t), brokers, 1, "there"); err != nil {
		t.Errorf("a topic that exists: got %v, want nil", err)
	}
	if err := EnsureTopics(within(t), brokers, 1, "there", "missing"); err != nil {
		t.Errorf("one that exists and one that does not: got %v, want nil", err)
	}
	if asked := <-made; len(asked) != 1 || asked[0].Topic != "missing" {
		t.Errorf("got %v asked for, want the missing one", asked)
	}
	if len(made) != 0 {
		t.Error("topics were made again")
	}
}

// Three copies acknowledge with two; one and two with one, whatever the broker's
// default. What exists otherwise is told, and stays.
func TestReplication(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.BrokerConfigs(map[string]string{minInSync: "2"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	brokers := cluster.ListenAddrs()
	transport := newTransport("test")
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport}
	for _, c := range []struct {
		topic       string
		replication int
		want        string
	}{{"one", 1, "1"}, {"two", 2, "1"}, {"three", 3, "2"}} {
		if err := EnsureTopics(within(t), brokers, c.replication, c.topic); err != nil {
			t.Fatalf("%s: %v", c.topic, err)
		}
		reply, err := client.DescribeConfigs(within(t), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
			{ResourceType: kafka.ResourceTypeTopic, ResourceName: c.topic, ConfigNames: []string{minInSync}}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := reply.Resources[0].ConfigEntries; len(got) != 1 || got[0].ConfigValue != c.want {
			t.Errorf("%d copies: got %+v, want %s %s", c.replication, got, minInSync, c.want)
		}
	}
	reply, err := client.CreateTopics(within(t), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: "careless", NumPartitions: 1,
		ReplicationFactor: 3, ConfigEntries: []kafka.ConfigEntry{{ConfigName: minInSync, ConfigValue: "1"}}}}})
	if err != nil || reply.Errors["careless"] != nil {
		t.Fatal(err, reply)
	}
	warnings := CheckTopics(within(t), brokers, 3, "one", "three", "careless")
	if len(warnings) != 2 || !strings.Contains(warnings[0], "one has 1 copies") || !strings.Contains(warnings[1], "careless acknowledges with 1 of 3") {
		t.Errorf("got %q, want a word about the copies of one and about careless", warnings)
	}
	if warnings := CheckTopics(within(t), brokers, 1, "one", "three"); len(warnings) != 0 {
		t.Errorf("got %q, want none", warnings)
	}
}

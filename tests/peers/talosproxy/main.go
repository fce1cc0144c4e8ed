// talosproxy is a person with Talos' own client library who works on a cluster and on a machine without one, through
// our talosctl proxy. It is built twice: with the library of a release that names several nodes in one call, and with
// one that calls each of them.
//
//	talosproxy DIR
//
// DIR has plan.json and talosconfig. With a talosconfig that holds no certificate, the library makes a key, asks for
// it to be let in and prints where; whoever started the program does that.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/client"
	clientconfig "github.com/siderolabs/talos/pkg/machinery/client/config"
	"google.golang.org/grpc/codes"

	"omni/tests/peers/internal/report"
)

const callTimeout = 30 * time.Second

// plan is what there is to work on, by the names that the user gives to nodes.
type plan struct {
	// Talos is what the machines run.
	Talos string `json:"talos"`
	// Nodes are the machines of the cluster, control planes first.
	Nodes []string `json:"nodes"`
	// Maintenance is a machine without a cluster.
	Maintenance string `json:"maintenance"`
}

// person is who works, with a client for their talosconfig, and one for the same without its cluster.
type person struct {
	plan

	*client.Client

	anywhere *client.Client
}

func main() {
	if len(os.Args) != 2 {
		report.Fatal(errors.New("usage: talosproxy DIR"))
	}

	person, err := newPerson(os.Args[1])
	if err != nil {
		report.Fatal(err)
	}

	person.unary()
	person.streams()
	person.resources()
	person.refusals()

	report.Exit()
}

func newPerson(folder string) (*person, error) {
	data, err := os.ReadFile(filepath.Join(folder, "plan.json"))
	if err != nil {
		return nil, err
	}

	var made person

	if err = json.Unmarshal(data, &made.plan); err != nil {
		return nil, err
	}

	config, err := clientconfig.Open(filepath.Join(folder, "talosconfig"))
	if err != nil {
		return nil, err
	}

	if made.Client, err = connect(config, folder); err != nil {
		return nil, err
	}

	config.Contexts[config.Context].Cluster = ""
	made.anywhere, err = connect(config, folder)

	return &made, err
}

func connect(config *clientconfig.Config, folder string) (*client.Client, error) {
	return client.New(
		context.Background(),
		client.WithConfig(config),
		client.WithSideroV1KeysDir(filepath.Join(folder, "keys")),
	)
}

// one is a context for one node.
func (p *person) one(ctx context.Context) context.Context {
	return client.WithNode(ctx, p.Nodes[0])
}

// all is a context for all nodes in one call.
func (p *person) all(ctx context.Context) context.Context {
	return client.WithNodes(ctx, p.Nodes...)
}

// check reports one check that may take as long as a call.
func check(name string, do func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()

	report.Check(name, do(ctx))
}

// refusals are calls that lead nowhere.
func (p *person) refusals() {
	check("a node that does not exist", func(ctx context.Context) error {
		_, err := p.Version(client.WithNode(ctx, "nowhere"))

		return report.Equal("the answer", client.StatusCode(err), codes.NotFound)
	})

	check("one that does not exist among others", func(ctx context.Context) error {
		_, err := p.Version(client.WithNodes(ctx, p.Nodes[0], "nowhere"))

		return report.Equal("the answer", client.StatusCode(err), codes.NotFound)
	})

	check("what the machine does not have", func(ctx context.Context) error {
		reader, err := p.Read(p.one(ctx), "/no/such/file")
		if err != nil {
			return err
		}

		_, err = io.ReadAll(reader)

		return report.Equal("the answer", client.StatusCode(err), codes.NotFound)
	})

	check("a call that outlives its time", func(context.Context) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()

		stream, err := p.Dmesg(p.one(ctx), true, true)
		if err != nil {
			return err
		}

		for err == nil {
			_, err = stream.Recv()
		}

		return report.Equal("the answer", client.StatusCode(err), codes.DeadlineExceeded)
	})
}

// eachNode tells whether every node is among those who answered, and nobody else.
func (p *person) eachNode(answered map[string]bool) error {
	for _, node := range p.Nodes {
		if !answered[node] {
			return fmt.Errorf("no right answer of %s among %v", node, answered)
		}
	}

	return report.Equal("the number of nodes that answered", len(answered), len(p.Nodes))
}

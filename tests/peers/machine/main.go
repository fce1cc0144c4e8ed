// machine is an operator with Talos' own client library: it takes machines from maintenance mode to a cluster with
// etcd and Kubernetes, looks at everything on the way, and resets one of them. All input is ours: the
// configurations, the talosconfigs, the machines.
//
//	machine DIR
//
// DIR has plan.json, talosconfig (an administrator's) and talosconfig.reader.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/client"
	clientconfig "github.com/siderolabs/talos/pkg/machinery/client/config"

	"omni/tests/peers/internal/report"
)

const (
	callTimeout = 20 * time.Second
	waitTimeout = 40 * time.Second
	waitBetween = 100 * time.Millisecond
)

// node is a machine: its address and the configuration it gets.
type node struct {
	Address string `json:"address"`
	Config  string `json:"config"`
}

// plan is the cluster to be.
type plan struct {
	// Version is what the machines run.
	Version string `json:"version"`
	// MaintenanceServer tells whether maintenance mode has a server of its own, as before Talos 1.13.
	MaintenanceServer bool   `json:"maintenanceServer"`
	ControlPlanes     []node `json:"controlPlanes"`
	Worker            node   `json:"worker"`
	// Kubernetes is the server in the cluster's kubeconfigs.
	Kubernetes string `json:"kubernetes"`
}

// operator is who looks at the cluster: with all rights, and as a reader.
type operator struct {
	plan

	admin, reader *client.Client
}

func main() {
	if len(os.Args) != 2 {
		report.Fatal(errors.New("usage: machine DIR"))
	}

	operator, err := newOperator(os.Args[1])
	if err != nil {
		report.Fatal(err)
	}

	operator.maintenance()
	operator.apply()
	operator.configured()
	operator.cluster()
	operator.files()
	operator.leave()

	report.Exit()
}

func newOperator(folder string) (*operator, error) {
	data, err := os.ReadFile(filepath.Join(folder, "plan.json"))
	if err != nil {
		return nil, err
	}

	var made operator

	if err = json.Unmarshal(data, &made.plan); err != nil {
		return nil, err
	}

	if made.admin, err = connect(filepath.Join(folder, "talosconfig")); err != nil {
		return nil, err
	}

	made.reader, err = connect(filepath.Join(folder, "talosconfig.reader"))

	return &made, err
}

func connect(path string) (*client.Client, error) {
	config, err := clientconfig.Open(path)
	if err != nil {
		return nil, err
	}

	return client.New(context.Background(), client.WithConfig(config))
}

// nodes are all machines, control planes first.
func (o *operator) nodes() []node {
	return append(append([]node{}, o.ControlPlanes...), o.Worker)
}

// first is a context for the first control plane.
func (o *operator) first(ctx context.Context) context.Context {
	return client.WithNode(ctx, o.ControlPlanes[0].Address)
}

// check reports one check that may take as long as a call.
func check(name string, do func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()

	report.Check(name, do(ctx))
}

// eventually reports one check that is tried until it passes.
func eventually(name string, do func(ctx context.Context) error) {
	deadline := time.Now().Add(waitTimeout)

	for {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		err := do(ctx)

		cancel()

		if err == nil {
			report.Check(name, nil)

			return
		}

		if time.Now().After(deadline) {
			report.Check(name, fmt.Errorf("not within %s: %w", waitTimeout, err))

			return
		}

		time.Sleep(waitBetween)
	}
}

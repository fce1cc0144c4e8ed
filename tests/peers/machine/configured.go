package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	machineapi "github.com/siderolabs/talos/pkg/machinery/api/machine"
	"github.com/siderolabs/talos/pkg/machinery/client"
	"github.com/siderolabs/talos/pkg/machinery/resources/config"
	"github.com/siderolabs/talos/pkg/machinery/resources/network"
	"github.com/siderolabs/talos/pkg/machinery/resources/runtime"
	"github.com/siderolabs/talos/pkg/machinery/resources/v1alpha1"
	"google.golang.org/grpc/codes"

	"omni/tests/peers/internal/report"
)

const userKey = 0x0a

// configured looks at machines that have their configuration, before there is a cluster.
func (o *operator) configured() {
	for _, node := range o.nodes() {
		eventually("mutual TLS with "+node.Address, func(ctx context.Context) error {
			_, err := o.admin.Version(client.WithNode(ctx, node.Address))

			return err
		})
	}

	check("version of all nodes at once", func(ctx context.Context) error {
		var addresses []string

		for _, node := range o.nodes() {
			addresses = append(addresses, node.Address)
		}

		response, err := o.admin.Version(client.WithNodes(ctx, addresses...))
		if err != nil {
			return err
		}

		from := map[string]bool{}

		for _, message := range response.Messages {
			from[message.Metadata.Hostname] = message.Version.Tag == o.Version
		}

		for _, address := range addresses {
			if !from[address] {
				return fmt.Errorf("no right answer of %s among %v", address, from)
			}
		}

		return nil
	})

	check("a reader reads", func(ctx context.Context) error {
		_, err := o.reader.Version(o.first(ctx))

		return err
	})

	check("a reader does not write", func(ctx context.Context) error {
		err := o.reader.MetaWrite(o.first(ctx), userKey, []byte("x"))

		return report.Equal("the answer", client.StatusCode(err), codes.PermissionDenied)
	})

	check("a reader does not see the configuration", func(ctx context.Context) error {
		_, err := safe.StateGetByID[*config.MachineConfig](o.first(ctx), o.reader.COSI, config.ActiveID)

		return report.Equal("the answer", client.StatusCode(err), codes.PermissionDenied)
	})

	check("the configuration is the one that was applied", func(ctx context.Context) error {
		active, err := safe.StateGetByID[*config.MachineConfig](o.first(ctx), o.admin.COSI, config.ActiveID)
		if err != nil {
			return err
		}

		text, err := active.Provider().Bytes()
		if err != nil {
			return err
		}

		return report.SameText("the configurations", string(text), o.ControlPlanes[0].Config)
	})

	check("addresses", func(ctx context.Context) error {
		address, err := safe.StateGetByID[*network.NodeAddress](o.first(ctx), o.admin.COSI, network.NodeAddressCurrentID)
		if err != nil {
			return err
		}

		return report.Equal("whether there are any", len(address.TypedSpec().Addresses) > 0, true)
	})

	check("META is written, seen in a watch, and deleted", o.meta)
	check("dmesg", o.dmesg)
}

func (o *operator) meta(ctx context.Context) error {
	ctx, cancel := context.WithCancel(o.first(ctx))
	defer cancel()

	events := make(chan state.Event)
	watched := runtime.NewMetaKey(runtime.NamespaceName, runtime.MetaKeyTagToID(userKey)).Metadata()

	if err := o.admin.COSI.Watch(ctx, watched, events); err != nil {
		return err
	}

	expect := func(wanted state.EventType, value string) error {
		select {
		case event := <-events:
			if event.Type != wanted {
				return fmt.Errorf("the watch brings %s, want %s (%w)", event.Type, wanted, event.Error)
			}

			if key, ok := event.Resource.(*runtime.MetaKey); ok && value != "" {
				return report.Equal("the value", key.TypedSpec().Value, value)
			}

			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}

	return report.First(
		func() error { return expect(state.Destroyed, "") },
		func() error { return o.admin.MetaWrite(ctx, userKey, []byte("one")) },
		func() error { return expect(state.Created, "one") },
		func() error { return o.admin.MetaWrite(ctx, userKey, []byte("two")) },
		func() error { return expect(state.Updated, "two") },
		func() error { return o.admin.MetaDelete(ctx, userKey) },
		func() error { return expect(state.Destroyed, "") },
	)
}

func (o *operator) services(ctx context.Context) error {
	response, err := o.admin.ServiceList(ctx)
	if err != nil {
		return err
	}

	states := map[string]string{}

	for _, service := range response.Messages[0].Services {
		states[service.Id] = service.State
	}

	for _, name := range []string{"apid", "machined", "etcd", "trustd"} {
		if states[name] == "" {
			return fmt.Errorf("no service %s among %v", name, states)
		}
	}

	return report.First(
		func() error { return report.Equal("apid", states["apid"], "Running") },
		func() error { return report.Equal("etcd before the bootstrap", states["etcd"], "Preparing") },
	)
}

func (o *operator) dmesg(ctx context.Context) error {
	stream, err := o.admin.Dmesg(o.first(ctx), false, false)
	if err != nil {
		return err
	}

	reader, err := client.ReadStream(stream)
	if err != nil {
		return err
	}

	defer reader.Close() //nolint:errcheck

	text, err := readAll(reader)
	if err != nil {
		return err
	}

	return report.Equal("whether Talos speaks in it", strings.Contains(text, "[talos]"), true)
}

// cluster bootstraps etcd once, under a watch of the services, and waits for what follows.
func (o *operator) cluster() {
	check("events", o.events)

	eventually("every control plane waits for etcd", func(ctx context.Context) error {
		for _, node := range o.ControlPlanes {
			if err := o.services(client.WithNode(ctx, node.Address)); err != nil {
				return err
			}
		}

		return nil
	})

	running, stop := o.watchEtcd()
	defer stop()

	check("bootstrap", func(ctx context.Context) error {
		return o.admin.Bootstrap(o.first(ctx), &machineapi.BootstrapRequest{})
	})

	report.Check("a watch of all services brings etcd running", <-running)

	eventually("every control plane is a member of etcd", func(ctx context.Context) error {
		response, err := o.admin.EtcdMemberList(o.first(ctx), &machineapi.EtcdMemberListRequest{})
		if err != nil {
			return err
		}

		return report.Equal("the number of members", len(response.Messages[0].Members), len(o.ControlPlanes))
	})

	check("a second bootstrap is refused", func(ctx context.Context) error {
		err := o.admin.Bootstrap(o.first(ctx), &machineapi.BootstrapRequest{})

		return report.Equal("the answer", client.StatusCode(err), codes.AlreadyExists)
	})

	check("a bootstrap of a worker is refused", func(ctx context.Context) error {
		err := o.admin.Bootstrap(client.WithNode(ctx, o.Worker.Address), &machineapi.BootstrapRequest{})

		return report.Want("it", err)
	})

	check("etcd status", func(ctx context.Context) error {
		response, err := o.admin.EtcdStatus(o.first(ctx))
		if err != nil {
			return err
		}

		status := response.Messages[0].MemberStatus

		return report.Equal("whether there is a leader", status.Leader != 0 && status.MemberId != 0, true)
	})

	eventually("etcd is running and healthy", func(ctx context.Context) error {
		services, err := o.admin.ServiceInfo(o.first(ctx), "etcd")
		if err != nil {
			return err
		}

		service := services[0].Service

		return report.First(
			func() error { return report.Equal("its state", service.State, "Running") },
			func() error { return report.Equal("its health", service.Health.Healthy, true) },
		)
	})

	for _, node := range o.nodes() {
		eventually("ready: "+node.Address, func(ctx context.Context) error {
			status, err := safe.StateGetByID[*runtime.MachineStatus](
				client.WithNode(ctx, node.Address), o.admin.COSI, runtime.MachineStatusID,
			)
			if err != nil {
				return err
			}

			return report.First(
				func() error { return report.Equal("the stage", status.TypedSpec().Stage, runtime.MachineStageRunning) },
				func() error {
					return report.Equal("readiness with "+unmet(status), status.TypedSpec().Status.Ready, true)
				},
			)
		})
	}
}

// watchEtcd starts a watch and returns how it ends: nil when etcd runs and is healthy.
func (o *operator) watchEtcd() (<-chan error, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	events := make(chan safe.WrappedStateEvent[*v1alpha1.Service])
	done := make(chan error, 1)
	kind := v1alpha1.NewService("").Metadata()

	err := safe.StateWatchKind(o.first(ctx), o.admin.COSI, kind, events, state.WithBootstrapContents(true))
	if err != nil {
		done <- err

		return done, cancel
	}

	go func() {
		done <- etcdRuns(ctx, events)
	}()

	return done, cancel
}

func etcdRuns(ctx context.Context, events <-chan safe.WrappedStateEvent[*v1alpha1.Service]) error {
	bootstrapped := false

	for {
		select {
		case event := <-events:
			switch event.Type() {
			case state.Errored:
				return event.Error()
			case state.Bootstrapped:
				bootstrapped = true

				continue
			case state.Created, state.Updated, state.Destroyed, state.Noop:
			}

			service, err := event.Resource()
			if err != nil {
				return err
			}

			spec := service.TypedSpec()

			if service.Metadata().ID() == "etcd" && spec.Running && spec.Healthy {
				return report.Equal("whether the contents at the start ended before", bootstrapped, true)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func unmet(status *runtime.MachineStatus) string {
	var names []string

	for _, condition := range status.TypedSpec().Status.UnmetConditions {
		names = append(names, condition.Name)
	}

	return "unmet " + strings.Join(names, ", ")
}

// events reads what was until now, and takes every event's message for one of Talos.
func (o *operator) events(ctx context.Context) error {
	ctx, cancel := context.WithCancel(o.first(ctx))
	defer cancel()

	results := make(chan client.EventResult)

	if err := o.admin.EventsWatchV2(ctx, results, client.WithTailEvents(-1)); err != nil {
		return err
	}

	seen := map[string]bool{}
	wanted := []string{"MachineStatusEvent", "ServiceStateEvent", "SequenceEvent", "PhaseEvent"}
	deadline := time.After(callTimeout)

	for {
		select {
		case result := <-results:
			if result.Error != nil {
				return result.Error
			}

			seen[fmt.Sprintf("%T", result.Event.Payload)] = true

			if containsAll(seen, wanted) {
				return nil
			}
		case <-deadline:
			return fmt.Errorf("only %v were seen", seen)
		}
	}
}

func containsAll(seen map[string]bool, wanted []string) bool {
	for _, name := range wanted {
		if !seen["*machine."+name] {
			return false
		}
	}

	return true
}

// leave resets the worker, and expects it to be as new.
func (o *operator) leave() {
	node := client.WithNode

	var before string

	check("boot id", func(ctx context.Context) error {
		id, err := o.bootID(node(ctx, o.ControlPlanes[1].Address))
		before = id

		return err
	})

	check("reboot", func(ctx context.Context) error {
		return o.admin.Reboot(node(ctx, o.ControlPlanes[1].Address))
	})

	eventually("it is another boot", func(ctx context.Context) error {
		after, err := o.bootID(node(ctx, o.ControlPlanes[1].Address))
		if err != nil {
			return err
		}

		if after == before {
			return errors.New("the boot id is the same")
		}

		return nil
	})

	check("reset of the worker", func(ctx context.Context) error {
		return o.admin.ResetGeneric(node(ctx, o.Worker.Address), &machineapi.ResetRequest{
			Graceful: true, Reboot: true,
			SystemPartitionsToWipe: []*machineapi.ResetPartitionSpec{
				{Label: "STATE", Wipe: true}, {Label: "EPHEMERAL", Wipe: true},
			},
		})
	})

	eventually("the worker is in maintenance mode again", func(ctx context.Context) error {
		return stranger(ctx, o.Worker.Address, inMaintenance(ctx))
	})
}

package main

import (
	"context"
	"errors"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/siderolabs/talos/pkg/machinery/client"
	"github.com/siderolabs/talos/pkg/machinery/resources/runtime"
	"github.com/siderolabs/talos/pkg/machinery/resources/v1alpha1"

	"omni/tests/peers/internal/report"
)

// resources are read, listed and watched.
func (p *person) resources() {
	check("a resource is read", func(ctx context.Context) error {
		status, err := safe.StateGetByID[*runtime.MachineStatus](p.one(ctx), p.COSI, runtime.MachineStatusID)
		if err != nil {
			return err
		}

		return report.Equal("the stage", status.TypedSpec().Stage, runtime.MachineStageRunning)
	})

	check("resources are listed", func(ctx context.Context) error {
		services, err := safe.StateListAll[*v1alpha1.Service](p.one(ctx), p.COSI)
		if err != nil {
			return err
		}

		return report.Equal("that there are some", services.Len() > 3, true)
	})

	check("resources are watched", func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(p.one(ctx))
		defer cancel()

		changes := make(chan state.Event)
		kind := resource.NewMetadata(v1alpha1.NamespaceName, v1alpha1.ServiceType, "", resource.VersionUndefined)

		if err := p.COSI.WatchKind(ctx, kind, changes, state.WithBootstrapContents(true)); err != nil {
			return err
		}

		seen := 0

		for {
			select {
			case change := <-changes:
				switch change.Type {
				case state.Created:
					seen++
				case state.Bootstrapped:
					return report.Equal("that there are some", seen > 3, true)
				case state.Errored:
					return change.Error
				case state.Updated, state.Destroyed, state.Noop:
				}
			case <-ctx.Done():
				return errors.New("the watch says nothing")
			}
		}
	})

	check("resources of a machine in maintenance mode", func(ctx context.Context) error {
		status, err := safe.StateGetByID[*runtime.MachineStatus](
			client.WithNode(ctx, p.Maintenance), p.anywhere.COSI, runtime.MachineStatusID,
		)
		if err != nil {
			return err
		}

		return report.Equal("the stage", status.TypedSpec().Stage, runtime.MachineStageMaintenance)
	})
}

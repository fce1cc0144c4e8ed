package main

import (
	"context"
	"errors"

	"github.com/cosi-project/runtime/pkg/safe"
	machineapi "github.com/siderolabs/talos/pkg/machinery/api/machine"
	"github.com/siderolabs/talos/pkg/machinery/client"
	"github.com/siderolabs/talos/pkg/machinery/resources/block"
	"github.com/siderolabs/talos/pkg/machinery/resources/hardware"
	"github.com/siderolabs/talos/pkg/machinery/resources/runtime"
	"google.golang.org/grpc/codes"

	"omni/tests/peers/internal/report"
)

// stranger connects to a machine in maintenance mode, as talosctl --insecure does.
func stranger(ctx context.Context, address string, do func(*client.Client) error) error {
	connection, err := client.New(ctx, client.WithMaintenanceMode(address, nil))
	if err != nil {
		return err
	}

	defer connection.Close() //nolint:errcheck

	return do(connection)
}

// maintenance looks at machines that nobody has configured.
func (o *operator) maintenance() {
	for _, node := range o.nodes() {
		eventually("maintenance mode of "+node.Address, func(ctx context.Context) error {
			return stranger(ctx, node.Address, inMaintenance(ctx))
		})
	}

	address := o.Worker.Address

	check("version in maintenance mode", func(ctx context.Context) error {
		return stranger(ctx, address, func(c *client.Client) error {
			response, err := c.Version(ctx)
			if o.MaintenanceServer {
				return report.Equal("the answer", client.StatusCode(err), codes.Unimplemented)
			}

			if err != nil {
				return err
			}

			return report.Equal("the version", response.Messages[0].Version.Tag, o.Version)
		})
	})

	check("disks in maintenance mode", func(ctx context.Context) error {
		return stranger(ctx, address, func(c *client.Client) error {
			disks, err := safe.StateListAll[*block.Disk](ctx, c.COSI)
			if err != nil {
				return err
			}

			for disk := range disks.All() {
				if !disk.TypedSpec().Readonly && disk.TypedSpec().Size > 0 && disk.TypedSpec().DevPath != "" {
					return nil
				}
			}

			return errors.New("no disk to install to")
		})
	})

	check("system information in maintenance mode", func(ctx context.Context) error {
		return stranger(ctx, address, func(c *client.Client) error {
			found, err := safe.StateGetByID[*hardware.SystemInformation](ctx, c.COSI, hardware.SystemInformationID)
			if err != nil {
				return err
			}

			return report.Equal("whether it has a UUID", found.TypedSpec().UUID != "", true)
		})
	})

	check("reboot by a stranger is refused", func(ctx context.Context) error {
		return stranger(ctx, address, func(c *client.Client) error {
			want := codes.PermissionDenied
			if o.MaintenanceServer {
				want = codes.Unimplemented
			}

			return report.Equal("the answer", client.StatusCode(c.Reboot(ctx)), want)
		})
	})
}

func inMaintenance(ctx context.Context) func(*client.Client) error {
	return func(c *client.Client) error {
		status, err := safe.StateGetByID[*runtime.MachineStatus](ctx, c.COSI, runtime.MachineStatusID)
		if err != nil {
			return err
		}

		return report.Equal("the stage", status.TypedSpec().Stage, runtime.MachineStageMaintenance)
	}
}

// apply gives every machine its configuration.
func (o *operator) apply() {
	address := o.Worker.Address

	check("a broken configuration is refused", func(ctx context.Context) error {
		return stranger(ctx, address, func(c *client.Client) error {
			_, err := c.ApplyConfiguration(ctx, &machineapi.ApplyConfigurationRequest{
				Data: []byte("machine:\n  type: [controlplane]\n"), Mode: machineapi.ApplyConfigurationRequest_AUTO,
			})

			return report.Want("it", err)
		})
	})

	for _, node := range o.nodes() {
		check("apply to "+node.Address, func(ctx context.Context) error {
			return stranger(ctx, node.Address, func(c *client.Client) error {
				response, err := c.ApplyConfiguration(ctx, &machineapi.ApplyConfigurationRequest{
					Data: []byte(node.Config), Mode: machineapi.ApplyConfigurationRequest_AUTO,
				})
				if err != nil {
					return err
				}

				return report.Equal("the number of answers", len(response.Messages), 1)
			})
		})
	}
}

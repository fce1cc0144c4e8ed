package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/siderolabs/talos/pkg/machinery/api/common"
	"github.com/siderolabs/talos/pkg/machinery/client"

	"omni/tests/peers/internal/report"
)

// unary are calls with one answer, to one node and to several.
func (p *person) unary() {
	check("version of one node", func(ctx context.Context) error {
		response, err := p.Version(p.one(ctx))
		if err != nil {
			return err
		}

		if err = report.Equal("the number of answers", len(response.Messages), 1); err != nil {
			return err
		}

		if response.Messages[0].Metadata != nil {
			return fmt.Errorf("the answer is marked: %v", response.Messages[0].Metadata)
		}

		return report.Equal("the version", response.Messages[0].Version.Tag, p.Talos)
	})

	check("version of each node", func(ctx context.Context) error {
		for _, node := range p.Nodes {
			if _, err := p.Version(client.WithNode(ctx, node)); err != nil {
				return fmt.Errorf("%s: %w", node, err)
			}
		}

		return nil
	})

	check("version of all nodes in one call", func(ctx context.Context) error {
		response, err := p.Version(p.all(ctx))
		if err != nil {
			return err
		}

		from := map[string]bool{}
		for _, message := range response.Messages {
			from[message.Metadata.Hostname] = message.Version.Tag == p.Talos
		}

		return p.eachNode(from)
	})

	check("memory of all nodes in one call", func(ctx context.Context) error {
		response, err := p.Memory(p.all(ctx))
		if err != nil {
			return err
		}

		from := map[string]bool{}
		for _, message := range response.Messages {
			from[message.Metadata.Hostname] = message.Meminfo.Memtotal > 0
		}

		return p.eachNode(from)
	})

	check("memory of one node", func(ctx context.Context) error {
		response, err := p.Memory(p.one(ctx))
		if err != nil {
			return err
		}

		return report.Equal("that there is some", response.Messages[0].Meminfo.Memtotal > 0, true)
	})

	check("services of one node", func(ctx context.Context) error {
		response, err := p.ServiceList(p.one(ctx))
		if err != nil {
			return err
		}

		var ids []string
		for _, service := range response.Messages[0].Services {
			ids = append(ids, service.Id)
		}

		if !strings.Contains(strings.Join(ids, " "), "etcd") {
			return fmt.Errorf("no etcd among %v", ids)
		}

		return nil
	})

	check("services of all nodes in one call", func(ctx context.Context) error {
		response, err := p.ServiceList(p.all(ctx))
		if err != nil {
			return err
		}

		from := map[string]bool{}
		for _, message := range response.Messages {
			from[message.Metadata.Hostname] = len(message.Services) > 0
		}

		return p.eachNode(from)
	})

	check("an image is pulled", func(ctx context.Context) error {
		return p.ImagePull(p.one(ctx), common.ContainerdNamespace_NS_CRI, "docker.io/library/alpine:3")
	})

	check("a machine in maintenance mode, by node", func(ctx context.Context) error {
		_, err := p.anywhere.Version(client.WithNode(ctx, p.Maintenance))

		return err
	})

	check("a machine in maintenance mode, by nodes", func(ctx context.Context) error {
		response, err := p.anywhere.Version(client.WithNodes(ctx, p.Maintenance))
		if err != nil {
			return err
		}

		return report.Equal("the name", response.Messages[0].Metadata.Hostname, p.Maintenance)
	})
}

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/siderolabs/talos/pkg/machinery/api/common"
	machineapi "github.com/siderolabs/talos/pkg/machinery/api/machine"
	"github.com/siderolabs/talos/pkg/machinery/client"

	"omni/tests/peers/internal/report"
)

const pcapMagic = 0xa1b23c4d

// streams are calls with answers that go on.
func (p *person) streams() {
	check("a log is followed", func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()

		stream, err := p.Logs(p.one(ctx), "system", common.ContainerDriver_CONTAINERD, "etcd", true, -1)
		if err != nil {
			return err
		}

		data, err := stream.Recv()
		if err != nil {
			return err
		}

		return report.Equal("that it says something", len(data.Bytes) > 0, true)
	})

	check("the kernel log of one node", func(ctx context.Context) error {
		stream, err := p.Dmesg(p.one(ctx), false, false)
		if err != nil {
			return err
		}

		size := 0

		for {
			data, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return report.Equal("that there is one", size > 0, true)
			}

			if err != nil {
				return err
			}

			size += len(data.Bytes)
		}
	})

	check("the kernel logs of all nodes in one call", func(ctx context.Context) error {
		stream, err := p.Dmesg(p.all(ctx), false, false)
		if err != nil {
			return err
		}

		from := map[string]bool{}

		for {
			data, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return p.eachNode(from)
			}

			if err != nil {
				return err
			}

			if data.Metadata.Error != "" {
				return errors.New(data.Metadata.Error)
			}

			from[data.Metadata.Hostname] = true
		}
	})

	check("events", func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()

		stream, err := p.Events(p.one(ctx), client.WithTailEvents(-1))
		if err != nil {
			return err
		}

		for range 3 {
			if _, err = stream.Recv(); err != nil {
				return err
			}
		}

		return nil
	})

	check("files are copied", func(ctx context.Context) error {
		reader, err := p.Copy(p.one(ctx), "/etc")
		if err != nil {
			return err
		}

		unzipped, err := gzip.NewReader(reader)
		if err != nil {
			return err
		}

		var names []string

		for archive := tar.NewReader(unzipped); ; {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				return report.Equal("the archive", strings.Join(names, " "), "hostname os-release")
			}

			if err != nil {
				return err
			}

			names = append(names, header.Name)
		}
	})

	check("a file is read", func(ctx context.Context) error {
		reader, err := p.Read(p.one(ctx), "/etc/os-release")
		if err != nil {
			return err
		}

		data, err := io.ReadAll(reader)
		if err != nil {
			return err
		}

		if !strings.Contains(string(data), p.Talos) {
			return fmt.Errorf("the release is %q", data)
		}

		return nil
	})

	check("an etcd snapshot is whole", func(ctx context.Context) error {
		reader, err := p.EtcdSnapshot(p.one(ctx), &machineapi.EtcdSnapshotRequest{})
		if err != nil {
			return err
		}

		data, err := io.ReadAll(reader)
		if err != nil {
			return err
		}

		if err = report.Equal("what is over", len(data)%512, sha256.Size); err != nil {
			return err
		}

		database, digest := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
		sum := sha256.Sum256(database)

		return report.Equal("that its digest is right", bytes.Equal(sum[:], digest), true)
	})

	check("an etcd snapshot is uploaded", func(ctx context.Context) error {
		response, err := p.EtcdRecover(p.one(ctx), bytes.NewReader(make([]byte, 1<<20)))
		if err != nil {
			return err
		}

		return report.Equal("the number of answers", len(response.Messages), 1)
	})

	check("packets are captured until the user has seen enough", func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()

		reader, err := p.PacketCapture(p.one(ctx), &machineapi.PacketCaptureRequest{Interface: "eth0"})
		if err != nil {
			return err
		}

		head := make([]byte, 24+16+60)
		if _, err = io.ReadFull(reader, head); err != nil {
			return err
		}

		return report.Equal("the kind of file", binary.LittleEndian.Uint32(head), uint32(pcapMagic))
	})
}

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/siderolabs/talos/pkg/machinery/api/common"
	machineapi "github.com/siderolabs/talos/pkg/machinery/api/machine"
	"github.com/siderolabs/talos/pkg/machinery/client"
	"github.com/siderolabs/talos/pkg/machinery/constants"
	"go.yaml.in/yaml/v4"

	"omni/tests/peers/internal/report"
)

func readAll(reader io.Reader) (string, error) {
	data, err := io.ReadAll(reader)

	return string(data), err
}

func (o *operator) bootID(ctx context.Context) (string, error) {
	reader, err := o.admin.Read(ctx, "/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}

	defer reader.Close() //nolint:errcheck

	text, err := readAll(reader)
	if err == nil && strings.TrimSpace(text) == "" {
		err = errors.New("it is empty")
	}

	return text, err
}

// files reads what comes as a stream: logs, directories, images, and the kubeconfig, with which it asks Kubernetes.
func (o *operator) files() {
	check("log of a service", func(ctx context.Context) error {
		stream, err := o.admin.Logs(
			o.first(ctx), constants.SystemContainerdNamespace, common.ContainerDriver_CONTAINERD, "machined", false, -1,
		)
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

		return report.Equal("whether it says anything", text != "", true)
	})

	check("log of an unknown service is refused", func(ctx context.Context) error {
		stream, err := o.admin.Logs(
			o.first(ctx), constants.SystemContainerdNamespace, common.ContainerDriver_CONTAINERD, "nobody", false, -1,
		)
		if err == nil {
			_, err = stream.Recv()
		}

		return report.Want("it", err)
	})

	check("directory of etcd", func(ctx context.Context) error {
		stream, err := o.admin.LS(o.first(ctx), &machineapi.ListRequest{Root: "/var/lib/etcd/member"})
		if err != nil {
			return err
		}

		info, err := stream.Recv()
		if err != nil {
			return err
		}

		return report.Equal("its error", info.Error, "")
	})

	check("kubeconfig", o.kubernetes)
}

// kubeconfig is what a client needs of the file.
type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			Server string `yaml:"server"`
			CA     string `yaml:"certificate-authority-data"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		User struct {
			Certificate string `yaml:"client-certificate-data"`
			Key         string `yaml:"client-key-data"`
		} `yaml:"user"`
	} `yaml:"users"`
}

// kubernetes connects with the kubeconfig that a control plane hands out, and waits for all nodes to be ready.
func (o *operator) kubernetes(ctx context.Context) error {
	text, err := o.admin.Kubeconfig(o.first(ctx))
	if err != nil {
		return err
	}

	var config kubeconfig

	if err = yaml.Unmarshal(text, &config); err != nil {
		return err
	}

	if len(config.Clusters) != 1 || len(config.Users) != 1 {
		return errors.New("it has not one cluster and one user")
	}

	server := config.Clusters[0].Cluster.Server
	if err = report.Equal("the server", server, o.Kubernetes); err != nil {
		return err
	}

	transport, err := config.transport()
	if err != nil {
		return err
	}

	eventually("all nodes of Kubernetes are ready", func(ctx context.Context) error {
		return nodesReady(ctx, &http.Client{Transport: transport}, server, len(o.nodes()))
	})

	return nil
}

func (c kubeconfig) transport() (*http.Transport, error) {
	var decoded [3][]byte

	user := c.Users[0].User

	for i, text := range []string{c.Clusters[0].Cluster.CA, user.Certificate, user.Key} {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, err
		}

		decoded[i] = data
	}

	pair, err := tls.X509KeyPair(decoded[1], decoded[2])
	if err != nil {
		return nil, err
	}

	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(decoded[0]) {
		return nil, errors.New("the authority is no certificate")
	}

	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}, nil
}

func nodesReady(ctx context.Context, http *http.Client, server string, want int) error {
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct {
				Conditions []struct{ Type, Status string }
			}
		}
	}

	if err := get(ctx, http, server+"/api/v1/nodes", &list); err != nil {
		return err
	}

	for _, node := range list.Items {
		for _, condition := range node.Status.Conditions {
			if condition.Type == "Ready" && condition.Status != "True" {
				return fmt.Errorf("node %s is not ready", node.Metadata.Name)
			}
		}
	}

	return report.Equal("the number of nodes", len(list.Items), want)
}

func get(ctx context.Context, client *http.Client, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}

	response, err := client.Do(request)
	if err != nil {
		return err
	}

	defer response.Body.Close() //nolint:errcheck

	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}

	return json.NewDecoder(response.Body).Decode(into)
}

package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"sort"
	"strings"
	"time"

	clientpb "github.com/siderolabs/discovery-api/api/v1alpha1/client/pb"
	serverpb "github.com/siderolabs/discovery-api/api/v1alpha1/server/pb"
	"github.com/siderolabs/discovery-client/pkg/client"
	"google.golang.org/protobuf/proto"
)

const port = 51820

// cluster is some nodes with a cluster's id and key.
type cluster struct {
	service service
	id      string
	cipher  cipher.Block
	nodes   []*node

	// changed has something in it after any of the nodes was told something.
	changed chan struct{}
}

// newID is the id of a cluster that nobody else has.
func newID() string {
	return base64.StdEncoding.EncodeToString(random(32))
}

func random(size int) []byte {
	data := make([]byte, size)
	rand.Read(data) //nolint:errcheck // it cannot fail

	return data
}

// newCluster starts nodes whose data hold for the times given, one for each; they have published nothing yet.
func newCluster(service service, ttls ...time.Duration) (*cluster, error) {
	block, err := aes.NewCipher(random(32))
	if err != nil {
		return nil, err
	}

	made := &cluster{service: service, id: newID(), cipher: block, changed: make(chan struct{}, 1)}

	for i, ttl := range ttls {
		if err = made.start(i, ttl); err != nil {
			made.stop()

			return nil, err
		}
	}

	return made, nil
}

// stop ends all nodes; what they published stays.
func (c *cluster) stop() {
	for _, node := range c.nodes {
		node.stop()
	}
}

// publish has a node say who it is, with the name that is given and its endpoints, and those of others.
func (c *cluster) publish(node *node, hostname string, endpoints []netip.Addr, others ...client.Endpoint) error {
	node.published = &client.Affiliate{
		Affiliate: &clientpb.Affiliate{
			NodeId:          node.id,
			Addresses:       [][]byte{{10, 0, 0, 1}},
			Hostname:        hostname,
			Nodename:        "node-" + hostname,
			MachineType:     "worker",
			OperatingSystem: "Talos (" + version + ")",
		},
		Endpoints: wire(endpoints...),
	}

	return node.SetLocalData(node.published, others)
}

// wire is addresses as endpoints of WireGuard.
func wire(addresses ...netip.Addr) []*clientpb.Endpoint {
	made := make([]*clientpb.Endpoint, 0, len(addresses))

	for _, address := range addresses {
		made = append(made, &clientpb.Endpoint{Ip: address.AsSlice(), Port: port})
	}

	return made
}

// until waits until something holds. It is looked at whenever a node was told something.
func (c *cluster) until(holds func() error) error {
	late := time.After(stepTimeout)

	for {
		err := holds()
		if err == nil {
			return nil
		}

		select {
		case <-c.changed:
		case <-late:
			return fmt.Errorf("after %s: %w", stepTimeout, err)
		}
	}
}

// everybody holds when each node knows all others, just as they published themselves.
func (c *cluster) everybody() error {
	for _, node := range c.nodes {
		if err := node.knows(others(c.nodes, node)...); err != nil {
			return err
		}
	}

	return nil
}

// watching holds when each node watches.
func (c *cluster) watching() error {
	for _, node := range c.nodes {
		if !node.watching() {
			return fmt.Errorf("%s does not watch", node.id)
		}
	}

	return nil
}

// watchingAgain holds when each node has begun more watches than it had at the last mark.
func (c *cluster) watchingAgain() error {
	for _, node := range c.nodes {
		if begun := node.begun(); begun <= node.marked {
			return fmt.Errorf("%s has not watched again", node.id)
		}
	}

	return nil
}

// mark is the moment after which watchingAgain is asked for.
func (c *cluster) mark() {
	for _, node := range c.nodes {
		node.marked = node.begun()
	}
}

// refresh has every node say something new, which all others have to be told.
func (c *cluster) refresh(word string) error {
	for i, node := range c.nodes {
		node.published.Affiliate.Hostname = fmt.Sprintf("%s-%d", word, i)

		if err := node.SetLocalData(node.published, nil); err != nil {
			return err
		}
	}

	return c.until(c.everybody)
}

// losses are all peers that were lost by any node.
func (c *cluster) losses() error {
	var found []error

	for _, node := range c.nodes {
		for _, lost := range node.losses() {
			found = append(found, fmt.Errorf("%s lost %s", node.id, lost))
		}
	}

	return errors.Join(found...)
}

// failures are updates that the service did not take.
func (c *cluster) failures() error {
	var found []error

	for _, node := range c.nodes {
		for _, entry := range node.log.FilterMessage("failed refreshing discovery service data").All() {
			found = append(found, fmt.Errorf("%s: %v", node.id, entry.ContextMap()["error"]))
		}
	}

	return errors.Join(found...)
}

// call makes a bare call as somebody else would who knows the cluster's id.
func (c *cluster) call(do func(ctx context.Context, cluster serverpb.ClusterClient) error) error {
	return c.service.calls(do)
}

// others are all nodes but one.
func others(nodes []*node, but *node) []*node {
	made := make([]*node, 0, len(nodes))

	for _, node := range nodes {
		if node != but {
			made = append(made, node)
		}
	}

	return made
}

// same tells how what was discovered differs from what was published, if it does.
func same(got, want *client.Affiliate) error {
	if !proto.Equal(got.Affiliate, want.Affiliate) {
		return fmt.Errorf("is known as %v, not as %v", got.Affiliate, want.Affiliate)
	}

	if got, want := endpoints(got), endpoints(want); got != want {
		return fmt.Errorf("is known at [%s], not at [%s]", got, want)
	}

	return nil
}

func endpoints(affiliate *client.Affiliate) string {
	made := make([]string, 0, len(affiliate.Endpoints))

	for _, endpoint := range affiliate.Endpoints {
		address, _ := netip.AddrFromSlice(endpoint.Ip)
		made = append(made, netip.AddrPortFrom(address, uint16(endpoint.Port)).String())
	}

	sort.Strings(made)

	return strings.Join(made, " ")
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	serverpb "github.com/siderolabs/discovery-api/api/v1alpha1/server/pb"
	"github.com/siderolabs/discovery-client/pkg/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"omni/tests/peers/internal/report"
)

// shortTTL is for what has to expire while somebody waits.
const shortTTL = time.Second

// pair is two nodes: they meet, one gets an endpoint, one goes.
func (l *lab) pair(string) error {
	cluster, err := newCluster(l.service, time.Minute, time.Minute)
	if err != nil {
		return err
	}

	defer cluster.stop()

	one, other := cluster.nodes[0], cluster.nodes[1]

	return report.First(
		func() error { return cluster.until(cluster.watching) },
		func() error {
			return report.First(func() error { return one.knows() }, func() error { return other.knows() })
		},
		func() error { return sees(one) },
		func() error { return cluster.publish(one, "one", nil) },
		func() error { return cluster.publish(other, "other", nil) },
		func() error { return cluster.until(cluster.everybody) },
		func() error { return cluster.publish(one, "one", []netip.Addr{netip.MustParseAddr("1.2.3.4")}) },
		func() error { return cluster.until(cluster.everybody) },
		cluster.losses,
		func() error {
			one.DeleteLocalAffiliate()

			return cluster.until(func() error { return other.knows() })
		},
		func() error { return one.knows(other) },
		func() error { return report.Equal("the number of lost peers", len(other.losses()), 1) },
		cluster.failures,
	)
}

// sees tells whether the service told a node where it comes from, unless it came through something else.
func sees(node *node) error {
	if got := node.GetPublicIP(); !bytes.Equal(got, node.address) {
		return fmt.Errorf("a node at %v was told that it is at %v", node.address, got)
	}

	return nil
}

// expiry is a node that stops without a word.
func (l *lab) expiry(string) error {
	cluster, err := newCluster(l.service, shortTTL, time.Minute)
	if err != nil {
		return err
	}

	defer cluster.stop()

	one, other := cluster.nodes[0], cluster.nodes[1]

	return report.First(
		func() error { return cluster.publish(one, "one", nil) },
		func() error { return cluster.publish(other, "other", nil) },
		func() error { return cluster.until(cluster.everybody) },
		func() error {
			one.stop()

			return cluster.until(func() error { return other.knows() })
		},
	)
}

// endpointExpiry is an endpoint that nobody mentions again, of a node that is there all the time.
func (l *lab) endpointExpiry(string) error {
	cluster, err := newCluster(l.service, talosTTL, talosTTL)
	if err != nil {
		return err
	}

	defer cluster.stop()

	one, other := cluster.nodes[0], cluster.nodes[1]
	own, harvested := netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("2001:db8::1")

	return report.First(
		func() error { return cluster.publish(one, "one", []netip.Addr{own}) },
		func() error { return cluster.publish(other, "other", nil) },
		func() error { return cluster.until(cluster.everybody) },
		func() error {
			return cluster.call(func(ctx context.Context, calls serverpb.ClusterClient) error {
				_, err := calls.AffiliateUpdate(ctx, &serverpb.AffiliateUpdateRequest{
					ClusterId:          cluster.id,
					AffiliateId:        one.id,
					AffiliateEndpoints: [][]byte{cluster.sealed(harvested)},
					Ttl:                durationpb.New(shortTTL),
				})

				return err
			})
		},
		func() error {
			one.published.Endpoints = wire(own, harvested)

			return cluster.until(cluster.everybody)
		},
		func() error {
			one.published.Endpoints = wire(own)

			return cluster.until(cluster.everybody)
		},
		cluster.losses,
	)
}

// sealed is an endpoint as the library encrypts it.
func (c *cluster) sealed(address netip.Addr) []byte {
	data, err := wire(address)[0].MarshalVT()
	if err != nil {
		report.Fatal(err)
	}

	size := c.cipher.BlockSize()
	made := make([]byte, (len(data)+size)/size*size)
	made[0] = byte(len(data))
	copy(made[1:], data)

	for i := 0; i < len(made); i += size {
		c.cipher.Encrypt(made[i:i+size], made[i:i+size])
	}

	return made
}

// crowd is many nodes at once, each with an endpoint of its own and one for its neighbour.
func (l *lab) crowd(argument string) error {
	cluster, err := l.gather(argument)
	if err != nil {
		return err
	}

	defer cluster.stop()

	for i, node := range cluster.nodes {
		neighbour := cluster.nodes[(i+1)%len(cluster.nodes)]
		harvested := client.Endpoint{AffiliateID: neighbour.id, Endpoints: wire(seenAt(neighbour))}

		if err = cluster.publish(node, strconv.Itoa(i), []netip.Addr{ownAddress(node)}, harvested); err != nil {
			return err
		}
	}

	for _, node := range cluster.nodes {
		node.published.Endpoints = wire(ownAddress(node), seenAt(node))
	}

	return report.First(
		func() error { return cluster.until(cluster.everybody) },
		cluster.losses,
		cluster.failures,
	)
}

// gather starts as many nodes as the argument says.
func (l *lab) gather(argument string) (*cluster, error) {
	number, err := strconv.Atoi(argument)
	if err != nil {
		return nil, errors.New("how many nodes?")
	}

	ttls := make([]time.Duration, number)
	for i := range ttls {
		ttls[i] = talosTTL
	}

	return newCluster(l.service, ttls...)
}

func ownAddress(node *node) netip.Addr {
	return netip.AddrFrom4([4]byte(node.address))
}

func seenAt(node *node) netip.Addr {
	address := netip.MustParseAddr("2001:db8::").As16()
	copy(address[12:], node.address)

	return netip.AddrFrom16(address)
}

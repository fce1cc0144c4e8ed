package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	serverpb "github.com/siderolabs/discovery-api/api/v1alpha1/server/pb"
	"github.com/siderolabs/discovery-client/pkg/client"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
)

// node is one client of the library, and what it was told.
type node struct {
	*client.Client

	id        string
	address   net.IP
	published *client.Affiliate
	log       *observer.ObservedLogs
	cancel    context.CancelFunc
	ended     chan struct{}

	// marked is a number of watches, see cluster.watchingAgain.
	marked int

	mu      sync.Mutex
	watches int
	open    bool
	target  string
	known   []string
	lost    []string
}

// start adds a node to the cluster.
func (c *cluster) start(number int, ttl time.Duration) error {
	ctx, cancel := context.WithCancel(context.Background())
	core, log := observer.New(zap.ErrorLevel)
	made := &node{
		id:      fmt.Sprintf("affiliate-%d", number),
		address: nextAddress(),
		log:     log,
		cancel:  cancel,
		ended:   make(chan struct{}),
	}

	options := c.service.options(ttl, from(made.address), grpc.WithStreamInterceptor(made.listen))
	options.Cipher = c.cipher
	options.ClusterID = c.id
	options.AffiliateID = made.id
	options.ClientVersion = version

	var err error

	if made.Client, err = client.NewClient(options); err != nil {
		cancel()

		return err
	}

	c.nodes = append(c.nodes, made)

	go func() {
		defer close(made.ended)

		made.Run(ctx, zap.New(core), c.changed) //nolint:errcheck // it ends when it is told to
	}()

	return nil
}

func (n *node) stop() {
	n.cancel()
	<-n.ended
}

// knows tells whether the node has discovered just these, as they published themselves.
func (n *node) knows(peers ...*node) error {
	discovered := n.GetAffiliates()

	for _, peer := range peers {
		found := slices.IndexFunc(discovered, func(one *client.Affiliate) bool { return one.Affiliate.NodeId == peer.id })
		if found < 0 {
			return fmt.Errorf("%s does not know %s", n.id, peer.id)
		}

		if err := same(discovered[found], peer.published); err != nil {
			return fmt.Errorf("to %s, %s %w", n.id, peer.id, err)
		}
	}

	if len(discovered) != len(peers) {
		return fmt.Errorf("%s knows %d others, not %d", n.id, len(discovered), len(peers))
	}

	return nil
}

func (n *node) begun() int {
	n.mu.Lock()
	defer n.mu.Unlock()

	return n.watches
}

func (n *node) watching() bool {
	n.mu.Lock()
	defer n.mu.Unlock()

	return n.open
}

func (n *node) at() string {
	n.mu.Lock()
	defer n.mu.Unlock()

	return n.target
}

func (n *node) losses() []string {
	n.mu.Lock()
	defer n.mu.Unlock()

	return slices.Clone(n.lost)
}

func (n *node) forgive() {
	n.mu.Lock()
	defer n.mu.Unlock()

	n.lost = nil
}

// listen hears what the library's watches are told, so that a peer lost for a moment is seen too.
func (n *node) listen(
	ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, call grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := call(ctx, desc, conn, method, options...)
	if err != nil {
		return nil, err
	}

	return &heard{ClientStream: stream, node: n, target: conn.Target()}, nil
}

// heard is a watch whose messages the node hears of.
type heard struct {
	grpc.ClientStream

	node   *node
	target string
	begun  bool
}

func (h *heard) RecvMsg(message any) error {
	if err := h.ClientStream.RecvMsg(message); err != nil {
		h.node.hearNothing()

		return err
	}

	h.node.hear(message.(*serverpb.WatchResponse), !h.begun, h.target) //nolint:forcetypeassert // the only stream there is
	h.begun = true

	return nil
}

// hear takes in a message of a watch. The first one of a watch is all that there is.
func (n *node) hear(message *serverpb.WatchResponse, first bool, target string) {
	n.mu.Lock()
	defer n.mu.Unlock()

	var named []string

	for _, one := range message.Affiliates {
		if one.Id != n.id && (message.Deleted || len(one.Data) > 0) {
			named = append(named, one.Id)
		}
	}

	gone := named

	switch {
	case first:
		n.watches++
		n.open = true
		n.target = target
		gone = without(n.known, named)
		n.known = named
	case message.Deleted:
		n.known = without(n.known, named)
	default:
		gone = nil
		n.known = append(without(n.known, named), named...)
	}

	n.lost = append(n.lost, gone...)
}

// hearNothing takes in the end of a watch.
func (n *node) hearNothing() {
	n.mu.Lock()
	defer n.mu.Unlock()

	n.open = false
}

// without is a list less some.
func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(one string) bool { return slices.Contains(some, one) })
}

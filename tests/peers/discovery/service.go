package main

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	serverpb "github.com/siderolabs/discovery-api/api/v1alpha1/server/pb"
	"github.com/siderolabs/discovery-client/pkg/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

const (
	version = "v1.14.1"

	// talosTTL is how long what a Talos node says holds.
	talosTTL    = 30 * time.Minute
	callTimeout = 10 * time.Second
	stepTimeout = 50 * time.Second
)

// service is where the discovery service is; without tls it is plain.
type service struct {
	endpoint string
	tls      *tls.Config
}

var addresses atomic.Uint32

// nextAddress is an address of this host that nobody else here comes from: the service counts calls by address.
func nextAddress() net.IP {
	n := addresses.Add(1)

	return net.IPv4(127, 1, byte(n/250), byte(1+n%250)).To4()
}

// from dials from an address.
func from(address net.IP) grpc.DialOption {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: address}}

	return grpc.WithContextDialer(func(ctx context.Context, target string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", target)
	})
}

// options are what the library's client connects with, for data that hold for ttl.
func (s service) options(ttl time.Duration, dial ...grpc.DialOption) client.Options {
	return client.Options{
		Endpoint:    s.endpoint,
		Insecure:    s.tls == nil,
		TLSConfig:   func() *tls.Config { return s.tls.Clone() },
		TTL:         ttl,
		DialOptions: dial,
	}
}

// connect makes a bare connection, from an address of its own unless given one.
func (s service) connect(dial ...grpc.DialOption) (*grpc.ClientConn, serverpb.ClusterClient, error) {
	again := backoff.DefaultConfig
	again.MaxDelay = time.Second
	dial = append([]grpc.DialOption{from(nextAddress()), grpc.WithConnectParams(grpc.ConnectParams{Backoff: again})}, dial...)

	conn, err := grpc.NewClient(s.endpoint, client.GRPCDialOptions(s.options(talosTTL, dial...))...)
	if err != nil {
		return nil, nil, err
	}

	return conn, serverpb.NewClusterClient(conn), nil
}

// calls makes bare calls on a connection of its own.
func (s service) calls(do func(ctx context.Context, cluster serverpb.ClusterClient) error) error {
	conn, cluster, err := s.connect()
	if err != nil {
		return err
	}

	defer conn.Close() //nolint:errcheck

	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()

	return do(ctx, cluster)
}

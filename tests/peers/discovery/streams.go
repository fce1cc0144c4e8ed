package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	serverpb "github.com/siderolabs/discovery-api/api/v1alpha1/server/pb"
	"github.com/siderolabs/discovery-client/pkg/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"omni/tests/peers/internal/report"
)

// watched is a bare watch: what it was told, in order, and how it ended.
type watched struct {
	messages chan *serverpb.WatchResponse
	ended    chan error
}

func watch(ctx context.Context, calls serverpb.ClusterClient, cluster string) (*watched, error) {
	stream, err := calls.Watch(ctx, &serverpb.WatchRequest{ClusterId: cluster})
	if err != nil {
		return nil, err
	}

	made := &watched{messages: make(chan *serverpb.WatchResponse, 1), ended: make(chan error, 1)}

	go func() {
		for {
			message, err := stream.Recv()
			if err != nil {
				made.ended <- err

				return
			}

			made.messages <- message
		}
	}()

	return made, nil
}

// next is the next message.
func (w *watched) next() (*serverpb.WatchResponse, error) {
	select {
	case message := <-w.messages:
		return message, nil
	case err := <-w.ended:
		return nil, err
	case <-time.After(callTimeout):
		return nil, fmt.Errorf("nothing was told in %s", callTimeout)
	}
}

// streams are many watches on one connection, as a proxy in front of the service makes them.
func (l *lab) streams(argument string) error {
	cluster := newID()

	number, err := strconv.Atoi(argument)
	if err != nil {
		return errors.New("how many watches?")
	}

	conn, calls, err := l.service.connect()
	if err != nil {
		return err
	}

	defer conn.Close() //nolint:errcheck

	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()

	watches := make([]*watched, number)
	for i := range watches {
		if watches[i], err = watch(ctx, calls, cluster); err != nil {
			return err
		}
	}

	for i, one := range watches {
		first, err := one.next()
		if err != nil {
			return fmt.Errorf("watch %d of %d: %w", i+1, number, err)
		}

		if first.Deleted || len(first.Affiliates) > 0 {
			return fmt.Errorf("watch %d of a cluster without affiliates began with %v", i+1, first)
		}
	}

	// The same connection has to carry calls too.
	request := update(func(r *serverpb.AffiliateUpdateRequest) { r.ClusterId = cluster })
	if _, err = calls.AffiliateUpdate(ctx, request); err != nil {
		return err
	}

	for i, one := range watches {
		told, err := one.next()
		if err != nil {
			return fmt.Errorf("watch %d of %d: %w", i+1, number, err)
		}

		if told.Deleted || len(told.Affiliates) != 1 || told.Affiliates[0].Id != request.AffiliateId {
			return fmt.Errorf("watch %d was told %v", i+1, told)
		}
	}

	return nil
}

const (
	// often is for how long data hold whose client pings as often as the library lets it, every ten seconds.
	often = 100 * time.Second
	// silenceTime is time for more pings than a server that does not expect them bears.
	silenceTime = 65 * time.Second
)

// silence is a watch on which nothing but pings goes back and forth.
type silence struct {
	since time.Time
	watch *watched
	dials atomic.Int32
	conn  *grpc.ClientConn
}

// quiet begins a watch that stays silent.
func (l *lab) quiet(string) error {
	made := &silence{since: time.Now()}
	l.silence = made
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: nextAddress()}}
	counted := grpc.WithContextDialer(func(ctx context.Context, target string) (net.Conn, error) {
		made.dials.Add(1)

		return dialer.DialContext(ctx, "tcp", target)
	})

	conn, err := grpc.NewClient(l.service.endpoint, client.GRPCDialOptions(l.service.options(often, counted))...)
	if err != nil {
		return err
	}

	made.conn = conn

	if made.watch, err = watch(context.Background(), serverpb.NewClusterClient(conn), newID()); err != nil {
		return err
	}

	_, err = made.watch.next()

	return err
}

// undisturbed waits until the silence is long enough: the watch has to be there, on its first connection.
func (l *lab) undisturbed(string) error {
	silence := l.silence

	defer silence.conn.Close() //nolint:errcheck

	select {
	case message := <-silence.watch.messages:
		return fmt.Errorf("the silent watch was told %v", message)
	case err := <-silence.watch.ended:
		return fmt.Errorf("the silent watch ended: %w", err)
	case <-time.After(time.Until(silence.since.Add(silenceTime))):
	}

	return report.Equal("the number of its connections", silence.dials.Load(), 1)
}

// trusted is a service that believes what proxies say.
const trusted = "trusted"

// proxied are calls with the address of somebody else in their metadata, which is believed or not.
func (l *lab) proxied(how string) error {
	conn, calls, err := l.service.connect(from(net.IPv4(127, 1, 255, 1)))
	if err != nil {
		return err
	}

	defer conn.Close() //nolint:errcheck

	const own = "127.1.255.1"

	var wrong []error

	for _, one := range []struct {
		metadata metadata.MD
		want     string
	}{
		{metadata.Pairs(), own},
		{metadata.Pairs("x-real-ip", "1.2.3.4"), "1.2.3.4"},
		{metadata.Pairs("X-Real-IP", "2001:db8::1"), "2001:db8::1"},
		{metadata.Pairs("x-real-ip", "1.2.3.4", "x-real-ip", "4.3.2.1"), "1.2.3.4"},
		{metadata.Pairs("x-forwarded-for", "5.6.7.8,192.168.0.0.1"), "5.6.7.8"},
		{metadata.Pairs("x-forwarded-for", " 5.6.7.8 , 9.9.9.9"), "5.6.7.8"},
		{metadata.Pairs("x-forwarded-for", "2001:db8::2"), "2001:db8::2"},
		{metadata.Pairs("x-real-ip", "1.2.3.4", "x-forwarded-for", "5.6.7.8"), "1.2.3.4"},
		{metadata.Pairs("x-real-ip", "nonsense", "x-forwarded-for", "5.6.7.8"), "5.6.7.8"},
		{metadata.Pairs("x-real-ip", "1.2.3.4:80"), own},
		{metadata.Pairs("x-forwarded-for", "unknown"), own},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		answer, err := calls.Hello(
			metadata.NewOutgoingContext(ctx, one.metadata), &serverpb.HelloRequest{ClusterId: "a cluster"},
		)

		cancel()

		if err != nil {
			return err
		}

		want := netip.MustParseAddr(own)
		if how == trusted {
			want = netip.MustParseAddr(one.want)
		}

		got, _ := netip.AddrFromSlice(answer.ClientIp)
		wrong = append(wrong, report.Equal(fmt.Sprintf("the address by %v", one.metadata), got, want))
	}

	return errors.Join(wrong...)
}

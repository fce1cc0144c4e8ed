package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	pb "github.com/siderolabs/siderolink/api/siderolink"
	"go.uber.org/zap"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/siderolabs/siderolink/pkg/wgtunnel/wgbind"
	"github.com/siderolabs/siderolink/pkg/wgtunnel/wggrpc"

	"omni/tests/peers/internal/report"
)

const (
	talosVersion = "v1.14.1"
	stepTimeout  = 30 * time.Second
	linkMTU      = 1280
	keepalive    = 25
	queueLength  = 100
	retryStream  = 10 * time.Second
)

// machine is one boot of one machine.
type machine struct {
	options

	uuid string
	key  wgtypes.Key

	host        string
	credentials credentials.TransportCredentials
	api         *grpc.ClientConn

	answer    *pb.ProvisionResponse
	address   netip.Addr
	server    netip.Addr
	net       *netstack.Net
	device    *device.Device
	queues    *wgbind.QueuePair
	relay     *wggrpc.Relay
	relayDone chan error
	listener  net.Listener
}

func newMachine() (*machine, error) {
	given := parse()

	scheme, host, ok := strings.Cut(given.api, "://")
	if !ok {
		return nil, fmt.Errorf("-api %q is no URL", given.api)
	}

	transport, err := transportCredentials(scheme, given.roots)
	if err != nil {
		return nil, err
	}

	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return nil, err
	}

	api, err := grpc.NewClient(host, grpc.WithTransportCredentials(transport))
	if err != nil {
		return nil, err
	}

	return &machine{
		options: given, uuid: uuid.NewString(), key: key, host: host, credentials: transport, api: api,
		queues: wgbind.NewQueuePair(queueLength, queueLength),
	}, nil
}

func transportCredentials(scheme, roots string) (credentials.TransportCredentials, error) {
	switch scheme {
	case "grpc":
		return insecure.NewCredentials(), nil
	case "https":
		pool := x509.NewCertPool()

		pem, err := os.ReadFile(roots)
		if err != nil {
			return nil, err
		}

		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", roots)
		}

		return credentials.NewTLS(&tls.Config{RootCAs: pool}), nil
	default:
		return nil, fmt.Errorf("no such scheme: %s", scheme)
	}
}

func (m *machine) close() {
	if m.listener != nil {
		m.listener.Close() //nolint:errcheck
	}

	m.relay.Close()

	if m.device != nil {
		m.device.Close()
	}

	m.api.Close() //nolint:errcheck
}

// request is what Talos sends: the token of META 16 is present even when it is empty, the tunnel only when wanted.
func (m *machine) request(uniqueToken string) *pb.ProvisionRequest {
	version := talosVersion

	request := &pb.ProvisionRequest{
		NodeUuid:        m.uuid,
		NodePublicKey:   m.key.PublicKey().String(),
		JoinToken:       &m.token,
		NodeUniqueToken: &uniqueToken,
		TalosVersion:    &version,
	}

	if m.transport == "grpc" {
		wanted := true
		request.WireguardOverGrpc = &wanted
	}

	return request
}

func (m *machine) provision(request *pb.ProvisionRequest) (*pb.ProvisionResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()

	return pb.NewProvisionServiceClient(m.api).Provision(ctx, request)
}

// refused provisions with a token that nobody made.
func (m *machine) refused(string) error {
	token := "nobody-made-this"

	request := m.request("")
	request.JoinToken = &token

	_, err := m.provision(request)

	return report.Equal("status", status.Code(err), codes.PermissionDenied)
}

// malformed provisions with a key that is none.
func (m *machine) malformed(string) error {
	request := m.request("")
	request.NodePublicKey = "AAAA"

	_, err := m.provision(request)

	return report.Equal("status", status.Code(err), codes.InvalidArgument)
}

// provisionStep provisions with a node unique token, if one is given, and checks the answer as Talos uses it.
func (m *machine) provisionStep(uniqueToken string) error {
	answer, err := m.provision(m.request(uniqueToken))
	if err != nil {
		return err
	}

	if len(answer.GetEndpoints()) == 0 {
		return errors.New("the answer has no endpoint")
	}

	prefix, err := netip.ParsePrefix(answer.NodeAddressPrefix)
	if err != nil {
		return err
	}

	if err = report.Equal("the prefix length", prefix.Bits(), 64); err != nil {
		return err
	}

	server, err := netip.ParseAddr(answer.ServerAddress)
	if err != nil {
		return err
	}

	if !prefix.Contains(server) {
		return errors.New("the server is outside of the machine's network")
	}

	if _, err = wgtypes.ParseKey(answer.ServerPublicKey); err != nil {
		return err
	}

	if m.transport == "udp" && answer.GrpcPeerAddrPort != "" {
		return errors.New("the answer names a tunnel that nobody asked for")
	}

	m.answer, m.address, m.server = answer, prefix.Addr(), server

	return nil
}

// again provisions once more with a node unique token, as after a write of META 16, and expects the same answer.
func (m *machine) again(uniqueToken string) error {
	before := m.answer

	if err := m.provisionStep(uniqueToken); err != nil {
		return err
	}

	if !before.EqualVT(m.answer) {
		return errors.New("the answer is another one")
	}

	return nil
}

// connect sets the WireGuard device up as the answer says, and opens the stream of a tunnel.
func (m *machine) connect(string) error {
	tunnel, network, err := netstack.CreateNetTUN([]netip.Addr{m.address}, nil, linkMTU)
	if err != nil {
		return err
	}

	m.net = network

	var bind conn.Bind = conn.NewDefaultBind()
	if m.transport == "grpc" {
		bind = wgbind.NewClientBind(m.queues, zap.NewNop())
	}

	m.device = device.NewDevice(tunnel, bind, device.NewLogger(device.LogLevelSilent, ""))

	serverKey, err := wgtypes.ParseKey(m.answer.ServerPublicKey)
	if err != nil {
		return err
	}

	configuration := fmt.Sprintf(
		"private_key=%x\npublic_key=%x\nendpoint=%s\nallowed_ip=%s/128\npersistent_keepalive_interval=%d\n",
		m.key[:], serverKey[:], m.answer.GetEndpoints()[0], m.server, keepalive,
	)

	if err = m.device.IpcSet(configuration); err != nil {
		return err
	}

	if m.transport == "grpc" {
		if err = m.openRelay(); err != nil {
			return err
		}
	}

	return m.device.Up()
}

func (m *machine) openRelay() error {
	relay, err := m.newRelay()
	if err != nil {
		return err
	}

	done := make(chan error, 1)
	m.relay, m.relayDone = relay, done

	go func() {
		done <- relay.Run(context.Background(), zap.NewNop())
	}()

	return nil
}

func (m *machine) newRelay() (*wggrpc.Relay, error) {
	address, err := netip.ParseAddrPort(m.answer.GrpcPeerAddrPort)
	if err != nil {
		return nil, err
	}

	return wggrpc.NewRelayToHost(m.host, retryStream, m.queues, address, grpc.WithTransportCredentials(m.credentials))
}

// replaced opens a second stream, and expects the first to end as replaced.
func (m *machine) replaced(string) error {
	first := m.relayDone

	if err := m.openRelay(); err != nil {
		return err
	}

	return ended(first, "peer replaced")
}

// removed expects the stream to end for good.
func (m *machine) removed(string) error {
	return ended(m.relayDone, "peer not allowed")
}

func ended(done <-chan error, want string) error {
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), want) {
			return fmt.Errorf("the stream ended with %v, want %q", err, want)
		}

		return nil
	case <-time.After(stepTimeout):
		return fmt.Errorf("the stream did not end, want %q", want)
	}
}

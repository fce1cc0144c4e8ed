package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	stdtls "crypto/tls"
	stdx509 "crypto/x509"

	"github.com/siderolabs/crypto/x509"
	"github.com/siderolabs/siderolink/api/events"
	machineapi "github.com/siderolabs/talos/pkg/machinery/api/machine"
	"github.com/siderolabs/talos/pkg/machinery/api/security"
	"github.com/siderolabs/talos/pkg/machinery/constants"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"omni/tests/peers/internal/report"
)

const (
	apidPort  = 50000
	sinkPort  = 8090
	logPort   = 8092
	retryStep = time.Second
)

// dialer connects over the link to a port of the server.
func (m *machine) dialer(port uint16) grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return m.net.DialContextTCPAddrPort(ctx, netip.AddrPortFrom(m.server, port))
	})
}

func (m *machine) target(port uint16) string {
	return "passthrough:///" + netip.AddrPortFrom(m.server, port).String()
}

// serve answers on the port of the Talos API with what it hears.
func (m *machine) serve(string) error {
	listener, err := m.net.ListenTCPAddrPort(netip.AddrPortFrom(m.address, apidPort))
	if err != nil {
		return err
	}

	m.listener = listener

	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}

			go func() {
				defer connection.Close() //nolint:errcheck

				io.Copy(connection, connection) //nolint:errcheck
			}()
		}
	}()

	return nil
}

// event publishes a status and one of a type that only this program knows, each until it is taken.
func (m *machine) event(identifier string) error {
	connection, err := grpc.NewClient(
		m.target(sinkPort), m.dialer(sinkPort), grpc.WithTransportCredentials(insecure.NewCredentials()),
	)
	if err != nil {
		return err
	}

	defer connection.Close() //nolint:errcheck

	client := events.NewEventSinkServiceClient(connection)

	for _, payload := range []proto.Message{
		&machineapi.MachineStatusEvent{
			Stage: machineapi.MachineStatusEvent_MAINTENANCE,
			Status: &machineapi.MachineStatusEvent_MachineStatus{
				UnmetConditions: []*machineapi.MachineStatusEvent_MachineStatus_UnmetCondition{
					{Name: "time", Reason: "time is not in sync"},
				},
			},
		},
		wrapperspb.String("not a machine's event"),
	} {
		data, err := anypb.New(payload)
		if err != nil {
			return err
		}

		if err = publish(client, &events.EventRequest{Id: identifier, ActorId: "peer", Data: data}); err != nil {
			return err
		}
	}

	return nil
}

// publish repeats an event until it is taken, as Talos does.
func publish(client events.EventSinkServiceClient, request *events.EventRequest) error {
	deadline := time.Now().Add(stepTimeout)

	for {
		ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
		_, err := client.Publish(ctx, request)

		cancel()

		if err == nil || time.Now().After(deadline) {
			return err
		}

		time.Sleep(retryStep)
	}
}

// log sends kernel log lines as Talos does.
func (m *machine) log(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()

	connection, err := m.net.DialContextTCPAddrPort(ctx, netip.AddrPortFrom(m.server, logPort))
	if err != nil {
		return err
	}

	encoder := json.NewEncoder(connection)

	for sequence := range 3 {
		line := map[string]any{
			"msg": fmt.Sprintf("%s %d\n SUBSYSTEM=net\n", text, sequence), "seq": sequence, "clock": 1000 + sequence,
			"facility": "kern", "priority": "info", "talos-level": "info",
			"talos-time": time.Now().UTC().Format(time.RFC3339Nano),
		}

		if err = encoder.Encode(line); err != nil {
			return err
		}
	}

	return connection.Close()
}

// trust asks the server for a worker's certificate, with the cluster's token and authority in the argument.
func (m *machine) trust(argument string) error {
	var cluster struct{ Token, CA string }

	if err := json.Unmarshal([]byte(argument), &cluster); err != nil {
		return err
	}

	roots := stdx509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(cluster.CA)) {
		return errors.New("the cluster's authority is no certificate")
	}

	connection, err := grpc.NewClient(
		m.target(constants.TrustdPort), m.dialer(constants.TrustdPort),
		grpc.WithTransportCredentials(credentials.NewTLS(&stdtls.Config{RootCAs: roots, ServerName: m.server.String()})),
	)
	if err != nil {
		return err
	}

	defer connection.Close() //nolint:errcheck

	request, identity, err := x509.NewEd25519CSRAndIdentity(
		x509.CommonName("worker-1"), x509.IPAddresses([]net.IP{m.address.AsSlice()}), x509.DNSNames([]string{"worker-1"}),
	)
	if err != nil {
		return err
	}

	if _, err = certificate(connection, "wrong."+cluster.Token, request); status.Code(err) != codes.PermissionDenied {
		return fmt.Errorf("a wrong token got the answer %v", err)
	}

	answer, err := certificate(connection, cluster.Token, request)
	if err != nil {
		return err
	}

	if err = report.SameText("the authority", string(answer.Ca), cluster.CA); err != nil {
		return err
	}

	pair, err := stdtls.X509KeyPair(answer.Crt, identity.Key)
	if err != nil {
		return err
	}

	_, err = pair.Leaf.Verify(stdx509.VerifyOptions{Roots: roots, DNSName: "worker-1"})

	return err
}

func certificate(
	connection *grpc.ClientConn, token string, request *x509.CertificateSigningRequest,
) (*security.CertificateResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()

	ctx = metadata.AppendToOutgoingContext(ctx, "token", token)

	return security.NewSecurityServiceClient(connection).Certificate(
		ctx, &security.CertificateRequest{Csr: request.X509CertificateRequestPEM},
	)
}

package main

import (
	"bytes"
	stdtls "crypto/tls"
	stdx509 "crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/siderolabs/crypto/tls"
	"github.com/siderolabs/crypto/x509"
	clientconfig "github.com/siderolabs/talos/pkg/machinery/client/config"
	"github.com/siderolabs/talos/pkg/machinery/role"

	"omni/tests/peers/internal/report"
)

// client is a client certificate of the Talos API and the roles it was made for.
type client struct {
	keyPair

	Name  string   `json:"name"`
	Roles []string `json:"roles"`
}

// check connects with the certificate to a server that asks for one as apid does, and reads the roles as apid does.
func (made client) check(server keyPair) error {
	certificate, err := connect(server, made.keyPair)
	if err != nil {
		return err
	}

	if !slices.Equal(certificate.ExtKeyUsage, []stdx509.ExtKeyUsage{stdx509.ExtKeyUsageClientAuth}) {
		return fmt.Errorf("extended key usages are %v, apid takes client authentication only", certificate.ExtKeyUsage)
	}

	roles, unknown := role.Parse(certificate.Subject.Organization)
	if len(unknown) > 0 {
		return fmt.Errorf("apid does not know the roles %v", unknown)
	}

	if !slices.Equal(roles.Strings(), made.Roles) {
		return fmt.Errorf("its roles are %v, want %v", roles.Strings(), made.Roles)
	}

	return nil
}

// connect makes a mutual TLS connection in memory and returns what the server saw of the client.
func connect(server, client keyPair) (*stdx509.Certificate, error) {
	serverPair, err := stdtls.X509KeyPair([]byte(server.Crt), []byte(server.Key))
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}

	clientPair, err := stdtls.X509KeyPair([]byte(client.Crt), []byte(client.Key))
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}

	serverConfig, err := tls.New(
		tls.WithClientAuthType(tls.Mutual), tls.WithCACertPEM([]byte(server.CA)), tls.WithKeypair(serverPair),
	)
	if err != nil {
		return nil, err
	}

	clientConfig, err := tls.New(
		tls.WithClientAuthType(tls.Mutual), tls.WithCACertPEM([]byte(client.CA)), tls.WithKeypair(clientPair),
	)
	if err != nil {
		return nil, err
	}

	clientConfig.ServerName = "127.0.0.1"

	serverSide, clientSide := net.Pipe()
	serverTLS, clientTLS := stdtls.Server(serverSide, serverConfig), stdtls.Client(clientSide, clientConfig)

	defer serverSide.Close() //nolint:errcheck
	defer clientSide.Close() //nolint:errcheck

	refused := make(chan error, 1)

	go func() {
		refused <- serverTLS.Handshake()
	}()

	if err = clientTLS.Handshake(); err != nil {
		return nil, fmt.Errorf("the client refuses the server: %w", err)
	}

	if err = <-refused; err != nil {
		return nil, fmt.Errorf("the server refuses the client: %w", err)
	}

	return serverTLS.ConnectionState().PeerCertificates[0], nil
}

// checkSigned holds the answer to a worker's request against the request's key and its authority.
func checkSigned(all made, requestKey []byte) error {
	if len(all.Clients) == 0 {
		return errors.New("no client to connect with")
	}

	pair := &x509.PEMEncodedCertificateAndKey{Crt: []byte(all.Signed), Key: requestKey}

	certificate, err := pair.GetCert()
	if err != nil {
		return err
	}

	if err = report.Equal("the organisation", len(certificate.Subject.Organization), 0); err != nil {
		return err
	}

	pool := stdx509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(all.Server.CA)) {
		return errors.New("the authority is no certificate")
	}

	usages := []stdx509.ExtKeyUsage{stdx509.ExtKeyUsageServerAuth}
	if _, err = certificate.Verify(stdx509.VerifyOptions{Roots: pool, KeyUsages: usages, DNSName: "worker-1"}); err != nil {
		return err
	}

	_, err = stdtls.X509KeyPair(pair.Crt, pair.Key)

	return err
}

func checkTalosConfig(text string) error {
	loaded, err := clientconfig.FromString(text)
	if err != nil {
		return err
	}

	again, err := loaded.Bytes()
	if err != nil {
		return err
	}

	if !bytes.Equal(again, []byte(text)) {
		return report.SameText("the texts", text, string(again))
	}

	return nil
}

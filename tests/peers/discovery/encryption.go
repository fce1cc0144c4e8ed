package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	serverpb "github.com/siderolabs/discovery-api/api/v1alpha1/server/pb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"omni/tests/peers/internal/report"
)

// tls is how the service speaks TLS, and with whom it does not speak.
func (l *lab) tls(string) error {
	var wrong []error

	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := l.service.tls.Clone()
		config.MinVersion, config.MaxVersion, config.NextProtos = version, version, []string{"h2"}

		conn, err := tls.Dial("tcp", l.service.endpoint, config)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", tls.VersionName(version), err))

			continue
		}

		protocol := conn.ConnectionState().NegotiatedProtocol
		wrong = append(wrong, report.Equal("what is spoken in "+tls.VersionName(version), protocol, "h2"))

		conn.Close() //nolint:errcheck
	}

	old := l.service.tls.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11

	_, err := tls.Dial("tcp", l.service.endpoint, old)
	wrong = append(wrong, report.Want("TLS 1.1", err))

	stranger := l.service
	stranger.tls = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	wrong = append(wrong, report.Equal("a call that trusts nobody", status.Code(stranger.hello()), codes.Unavailable))

	return errors.Join(wrong...)
}

// hello is one call on a new connection.
func (s service) hello() error {
	return s.calls(func(ctx context.Context, calls serverpb.ClusterClient) error {
		_, err := calls.Hello(ctx, &serverpb.HelloRequest{ClusterId: "a cluster"})

		return err
	})
}

// authority is what holds after the service got another certificate, of the authorities in a file.
func (l *lab) authority(roots string) error {
	if err := l.service.trust(roots); err != nil {
		return err
	}

	for late := time.Now().Add(stepTimeout); ; time.Sleep(100 * time.Millisecond) {
		err := l.service.hello()
		if err == nil || time.Now().After(late) {
			return err
		}
	}
}

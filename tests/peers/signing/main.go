// signing is what talosctl does before and with each call, by the library that it does it with: it registers a key, waits
// until a person has accepted it, and signs calls; with a service account's key it signs at once.
//
//	signing DIR
//
// DIR has server.sock, which answers as our gateway does, and plan.json.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	pgpcrypto "github.com/ProtonMail/gopenpgp/v3/crypto"
	authpb "github.com/siderolabs/go-api-signature/api/auth"
	"github.com/siderolabs/go-api-signature/pkg/client/interceptor"
	"github.com/siderolabs/go-api-signature/pkg/message"
	"github.com/siderolabs/go-api-signature/pkg/pgp"
	pgpclient "github.com/siderolabs/go-api-signature/pkg/pgp/client"
	"github.com/siderolabs/go-api-signature/pkg/serviceaccount"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"omni/tests/peers/internal/report"
)

const (
	timeout = 20 * time.Second
	email   = "user@example.com"
	unary   = "/machine.MachineService/Version"
	stream  = "/machine.MachineService/Dmesg"
)

// plan is what our side made.
type plan struct {
	// ServiceAccount is the text of a service account's key, Public its public half.
	ServiceAccount string `json:"serviceAccount"`
	Public         string `json:"public"`
	// Signed is the metadata of a call of Method that we signed with it.
	Signed metadata.MD `json:"signed"`
	Method string      `json:"method"`
}

func main() {
	if len(os.Args) != 2 {
		report.Fatal(errors.New("usage: signing DIR"))
	}

	data, err := os.ReadFile(filepath.Join(os.Args[1], "plan.json"))
	if err != nil {
		report.Fatal(err)
	}

	var given plan
	if err = json.Unmarshal(data, &given); err != nil {
		report.Fatal(err)
	}

	socket := "unix:" + filepath.Join(os.Args[1], "server.sock")

	report.Check("our key is a good one", goodKey(given))
	report.Check("our signature is accepted", ourSignature(given))
	report.Check("a service account signs", serviceAccount(socket, given))
	report.Check("a person logs in, is revoked, logs in again", login(socket))
	report.Check("a key that lives too long is refused", longKey(socket))
	report.Check("nobody confirms but in a browser", confirm(socket))
	report.Exit()
}

func goodKey(given plan) error {
	account, err := serviceaccount.Decode(given.ServiceAccount)
	if err != nil {
		return err
	}

	public, err := publicKey(given.Public)
	if err != nil {
		return err
	}

	return report.First(
		func() error { return report.Equal("fingerprint", account.Key.Fingerprint(), public.Fingerprint()) },
		func() error { return public.Validate(pgp.WithMaxAllowedLifetime(365 * 24 * time.Hour)) },
		func() error {
			return report.Want("a longer life", public.Validate(pgp.WithMaxAllowedLifetime(time.Hour)))
		},
	)
}

func ourSignature(given plan) error {
	public, err := publicKey(given.Public)
	if err != nil {
		return err
	}

	if err = message.NewGRPC(given.Signed, given.Method).VerifySignature(public); err != nil {
		return err
	}

	given.Signed.Set("cluster", "another")

	return report.Want("a changed call", message.NewGRPC(given.Signed, given.Method).VerifySignature(public))
}

func serviceAccount(socket string, given plan) error {
	conn, err := dial(socket, interceptor.Options{ServiceAccountBase64: given.ServiceAccount})
	if err != nil {
		return err
	}

	defer conn.Close() //nolint:errcheck

	return calls(conn)
}

func login(socket string) error {
	folder, err := os.MkdirTemp("", "keys")
	if err != nil {
		return err
	}

	defer os.RemoveAll(folder) //nolint:errcheck

	// The address is printed, not opened.
	for name, value := range map[string]string{"BROWSER": "echo", "XDG_DATA_HOME": folder} {
		if err = os.Setenv(name, value); err != nil {
			return err
		}
	}

	conn, err := dial(socket, interceptor.Options{
		UserKeyProvider: pgpclient.NewKeyProviderWithFallback("talos/keys", folder, "", true),
		ContextName:     "acme",
		Identity:        email,
		ClientName:      "Talos",
	})
	if err != nil {
		return err
	}

	defer conn.Close() //nolint:errcheck

	return report.First(
		func() error { return calls(conn) },
		func() error { return revoke(conn, folder) },
		func() error { return calls(conn) },
	)
}

// revoke ends the key that is in the folder, by a call that is signed with it.
func revoke(conn *grpc.ClientConn, folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "acme-*.pgp"))
	if err != nil {
		return err
	}

	if len(files) != 1 {
		return fmt.Errorf("there are %d keys in the folder", len(files))
	}

	text, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}

	key, err := pgpcrypto.NewKeyFromArmored(string(text))
	if err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()

	_, err = authpb.NewAuthServiceClient(conn).RevokePublicKey(
		ctx, &authpb.RevokePublicKeyRequest{PublicKeyId: key.GetFingerprint()},
	)

	return err
}

func longKey(socket string) error {
	key, err := pgp.GenerateKey("Talos", "", email, 24*time.Hour)
	if err != nil {
		return err
	}

	armored, err := key.ArmorPublic()
	if err != nil {
		return err
	}

	return refused(socket, codes.InvalidArgument, func(ctx context.Context, client authpb.AuthServiceClient) error {
		_, err := client.RegisterPublicKey(ctx, &authpb.RegisterPublicKeyRequest{
			PublicKey: &authpb.PublicKey{PgpData: []byte(armored)},
			Identity:  &authpb.Identity{Email: email},
		})

		return err
	})
}

func confirm(socket string) error {
	return refused(socket, codes.FailedPrecondition, func(ctx context.Context, client authpb.AuthServiceClient) error {
		_, err := client.ConfirmPublicKey(ctx, &authpb.ConfirmPublicKeyRequest{PublicKeyId: "00"})

		return err
	})
}

// refused makes an unsigned call and looks at its code.
func refused(socket string, want codes.Code, call func(context.Context, authpb.AuthServiceClient) error) error {
	conn, err := grpc.NewClient(socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}

	defer conn.Close() //nolint:errcheck

	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()

	return report.Equal("code", status.Code(call(ctx, authpb.NewAuthServiceClient(conn))), want)
}

// calls makes a unary call and a stream for two nodes of a cluster.
func calls(conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()

	ctx = metadata.AppendToOutgoingContext(
		ctx, "runtime", "Talos", "context", "prod", "nodes", "10.5.0.2", "nodes", "10.5.0.3",
	)

	if err := conn.Invoke(ctx, unary, &emptypb.Empty{}, &emptypb.Empty{}); err != nil {
		return err
	}

	answers, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, stream)
	if err != nil {
		return err
	}

	return report.First(
		func() error { return answers.SendMsg(&emptypb.Empty{}) },
		answers.CloseSend,
		func() error { return answers.RecvMsg(&emptypb.Empty{}) },
		func() error {
			if err := answers.RecvMsg(&emptypb.Empty{}); !errors.Is(err, io.EOF) {
				return fmt.Errorf("the stream does not end: %w", err)
			}

			return nil
		},
	)
}

func dial(socket string, options interceptor.Options) (*grpc.ClientConn, error) {
	options.InfoWriter = io.Discard
	signer := interceptor.New(options)

	return grpc.NewClient(
		socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(signer.Unary()),
		grpc.WithStreamInterceptor(signer.Stream()),
	)
}

func publicKey(armored string) (*pgp.Key, error) {
	key, err := pgpcrypto.NewKeyFromArmored(armored)
	if err != nil {
		return nil, err
	}

	return pgp.NewKey(key)
}

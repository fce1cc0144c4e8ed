package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"

	"omni/tests/peers/internal/report"
)

// transport is one of the ways in which streams are carried.
type transport struct {
	name     string
	executor func(config *rest.Config, request *rest.Request) (remotecommand.Executor, error)
	dialer   func(config *rest.Config, request *rest.Request) (httpstream.Dialer, error)
}

var transports = []transport{
	{
		name: "SPDY",
		executor: func(config *rest.Config, request *rest.Request) (remotecommand.Executor, error) {
			return remotecommand.NewSPDYExecutor(config, http.MethodPost, request.URL())
		},
		dialer: func(config *rest.Config, request *rest.Request) (httpstream.Dialer, error) {
			tripper, upgrader, err := spdy.RoundTripperFor(config)
			if err != nil {
				return nil, err
			}

			return spdy.NewDialer(upgrader, &http.Client{Transport: tripper}, http.MethodPost, request.URL()), nil
		},
	},
	{
		name: "a websocket",
		executor: func(config *rest.Config, request *rest.Request) (remotecommand.Executor, error) {
			return remotecommand.NewWebSocketExecutor(config, http.MethodGet, request.URL().String())
		},
		dialer: func(config *rest.Config, request *rest.Request) (httpstream.Dialer, error) {
			return portforward.NewSPDYOverWebsocketDialer(request.URL(), config)
		},
	},
}

// request is one for a part of the pod.
func (u *user) request(part string) *rest.Request {
	return u.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(u.namespace).Name(pod).SubResource(part)
}

// run runs a command in the pod.
func (u *user) run(ctx context.Context, t transport, stdin io.Reader, command ...string) (stdout, stderr string, err error) {
	request := u.request("exec").VersionedParams(&corev1.PodExecOptions{
		Command: command, Stdin: stdin != nil, Stdout: true, Stderr: true,
	}, scheme.ParameterCodec)

	executor, err := t.executor(u.config, request)
	if err != nil {
		return "", "", err
	}

	var out, errs bytes.Buffer

	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: &out, Stderr: &errs})

	return out.String(), errs.String(), err
}

// exec tells a command's output, its errors and its exit status.
func (u *user) exec(ctx context.Context, t transport) error {
	stdout, stderr, err := u.run(ctx, t, nil, "sh", "-c", "echo out; echo problem >&2; exit 3")

	var exit exec.CodeExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("the command ended with %v, want status 3", err)
	}

	return report.First(
		func() error { return report.Equal("the status", exit.Code, 3) },
		func() error { return report.Equal("the output", stdout, "out\n") },
		func() error { return report.Equal("the errors", stderr, "problem\n") },
	)
}

// pipe sends a lot through a command.
func (u *user) pipe(ctx context.Context, t transport) error {
	data := make([]byte, 1<<20)
	if _, err := rand.Read(data); err != nil {
		return err
	}

	stdout, _, err := u.run(ctx, t, bytes.NewReader(data), "cat")
	if err != nil {
		return err
	}

	if stdout != string(data) {
		return fmt.Errorf("%d bytes came back, not those that were sent", len(stdout))
	}

	return nil
}

// forward talks to two ports of the pod: one says back what it hears, one speaks HTTP.
func (u *user) forward(ctx context.Context, t transport) error {
	dialer, err := t.dialer(u.config, u.request("portforward"))
	if err != nil {
		return err
	}

	stop, ready := make(chan struct{}), make(chan struct{})

	forwarder, err := portforward.New(dialer, []string{"0:7", "0:8080"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return err
	}

	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()

	select {
	case <-ready:
	case err = <-ended:
		return fmt.Errorf("the ports were not forwarded: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}

	ports, err := forwarder.GetPorts()
	if err != nil {
		return err
	}

	for range 3 {
		if err = echoed(fmt.Sprintf("127.0.0.1:%d", ports[0].Local)); err != nil {
			return err
		}
	}

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", ports[1].Local), nil)
	if err != nil {
		return err
	}

	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()

	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}

	close(stop)

	return report.First(
		func() error { return report.Equal("the answer", string(body), "this is "+pod+"\n") },
		func() error { return <-ended },
	)
}

// echoed sends something to a port and wants it back.
func echoed(address string) error {
	connection, err := net.DialTimeout("tcp", address, callTimeout)
	if err != nil {
		return err
	}
	defer connection.Close()

	if err = connection.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return err
	}

	text := strings.Repeat("hello ", 20000)

	go func() { _, _ = io.WriteString(connection, text) }()

	back := make([]byte, len(text))
	if _, err = io.ReadFull(connection, back); err != nil {
		return err
	}

	return report.Equal("what came back", string(back) == text, true)
}

// logs follows the pod's log while something is said to its program, which logs it.
func (u *user) logs(ctx context.Context) error {
	stream, err := u.client.CoreV1().Pods(u.namespace).GetLogs(pod, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()

	lines := bufio.NewScanner(stream)
	for _, want := range []string{"first line", "second line"} {
		if !lines.Scan() {
			return fmt.Errorf("the log ended before %q: %w", want, lines.Err())
		}

		if err = report.Equal("the line", lines.Text(), want); err != nil {
			return err
		}
	}

	request := u.request("attach").VersionedParams(
		&corev1.PodAttachOptions{Stdin: true, Stdout: true}, scheme.ParameterCodec)

	executor, err := transports[1].executor(u.config, request)
	if err != nil {
		return err
	}

	var out bytes.Buffer

	text := fmt.Sprintf("said at %d\n", time.Now().UnixNano())
	options := remotecommand.StreamOptions{Stdin: strings.NewReader(text), Stdout: &out}

	if err = executor.StreamWithContext(ctx, options); err != nil {
		return fmt.Errorf("attaching: %w", err)
	}

	if !lines.Scan() {
		return fmt.Errorf("the log ended before what was said: %w", lines.Err())
	}

	return report.First(
		func() error { return report.Equal("what was said back", out.String(), text) },
		func() error { return report.Equal("what was logged", lines.Text()+"\n", text) },
	)
}

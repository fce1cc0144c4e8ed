package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	serverpb "github.com/siderolabs/discovery-api/api/v1alpha1/server/pb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"omni/tests/peers/internal/report"
)

const (
	mostIDBytes    = 256
	mostDataBytes  = 2048
	mostPointBytes = 32
	mostAffiliates = 1024
	mostEndpoints  = 64
	method         = "/sidero.discovery.server.Cluster/"
)

// update is a call to AffiliateUpdate that is in order, but for what is changed.
func update(change func(*serverpb.AffiliateUpdateRequest)) *serverpb.AffiliateUpdateRequest {
	made := &serverpb.AffiliateUpdateRequest{
		ClusterId:          "a cluster",
		AffiliateId:        "an affiliate",
		AffiliateData:      []byte("data"),
		AffiliateEndpoints: [][]byte{[]byte("an endpoint")},
		Ttl:                durationpb.New(time.Minute),
	}
	change(made)

	return made
}

// answer is what a refused call says, or an empty string for one that is not refused.
func answer(err error) string {
	if err == nil {
		return ""
	}

	return fmt.Sprintf("%s: %s", status.Code(err), status.Convert(err).Message())
}

// refused are calls with something wrong in them, and their neighbours that are just right.
func (l *lab) refused(string) error {
	const (
		noCluster   = "InvalidArgument: cluster ID can't be empty"
		longCluster = "InvalidArgument: cluster ID is too long"
		noID        = "InvalidArgument: affiliate ID can't be empty"
		longID      = "InvalidArgument: affiliate ID is too long"
		bigData     = "InvalidArgument: affiliate data is too big"
		bigEndpoint = "InvalidArgument: affiliate endpoint is too big"
		longTTL     = "InvalidArgument: ttl is too large"
	)

	type request = serverpb.AffiliateUpdateRequest

	updates := []struct {
		name   string
		change func(*request)
		want   string
	}{
		{"nothing", func(r *request) { *r = request{} }, noCluster}, //nolint:govet // it is made anew
		{"no cluster", func(r *request) { r.ClusterId = "" }, noCluster},
		{"the longest cluster", func(r *request) { r.ClusterId = strings.Repeat("c", mostIDBytes) }, ""},
		{"a longer cluster", func(r *request) { r.ClusterId = strings.Repeat("c", mostIDBytes+1) }, longCluster},
		{"a cluster of long letters", func(r *request) { r.ClusterId = strings.Repeat("ü", mostIDBytes/2+1) }, longCluster},
		{"no id", func(r *request) { r.AffiliateId = "" }, noID},
		{"the longest id", func(r *request) { r.AffiliateId = strings.Repeat("a", mostIDBytes) }, ""},
		{"a longer id", func(r *request) { r.AffiliateId = strings.Repeat("a", mostIDBytes+1) }, longID},
		{"the most data", func(r *request) { r.AffiliateData = make([]byte, mostDataBytes) }, ""},
		{"more data", func(r *request) { r.AffiliateData = make([]byte, mostDataBytes+1) }, bigData},
		{"no data", func(r *request) { r.AffiliateData = nil }, ""},
		{"the largest endpoint", func(r *request) { r.AffiliateEndpoints[0] = make([]byte, mostPointBytes) }, ""},
		{"a larger endpoint", func(r *request) { r.AffiliateEndpoints[0] = make([]byte, mostPointBytes+1) }, bigEndpoint},
		{"a short endpoint", func(r *request) { r.AffiliateEndpoints[0] = []byte("e1") }, ""},
		{"the longest time", func(r *request) { r.Ttl = durationpb.New(talosTTL) }, ""},
		{"a longer time", func(r *request) { r.Ttl = durationpb.New(talosTTL + 1) }, longTTL},
		{"the end of time", func(r *request) { r.Ttl = &durationpb.Duration{Seconds: 1 << 62} }, longTTL},
		{"no time", func(r *request) { r.Ttl = nil }, ""},
		{"a time that is over", func(r *request) { r.Ttl = durationpb.New(-time.Hour) }, ""},
		{"the beginning of time", func(r *request) { r.Ttl = &durationpb.Duration{Seconds: -1 << 62} }, ""},
		{"all that can be wrong", func(r *request) {
			r.AffiliateData = make([]byte, mostDataBytes+1)
			r.AffiliateEndpoints[0] = make([]byte, mostPointBytes+1)
			r.Ttl = durationpb.New(time.Hour)
		}, bigData},
		{"what can be wrong after the data", func(r *request) {
			r.AffiliateEndpoints[0] = make([]byte, mostPointBytes+1)
			r.Ttl = durationpb.New(time.Hour)
		}, bigEndpoint},
	}

	return l.service.calls(func(ctx context.Context, calls serverpb.ClusterClient) error {
		var wrong []error

		check := func(name string, err error, want string) {
			wrong = append(wrong, report.Equal("the answer to "+name, answer(err), want))
		}

		for _, one := range updates {
			_, err := calls.AffiliateUpdate(ctx, update(one.change))
			check("an update with "+one.name, err, one.want)
		}

		for cluster, want := range map[string]string{
			"":                                    noCluster,
			strings.Repeat("c", mostIDBytes+1):    longCluster,
			strings.Repeat("ü", mostIDBytes/2+1):  longCluster,
			strings.Repeat("known to nobody ", 9): "",
		} {
			_, err := calls.Hello(ctx, &serverpb.HelloRequest{ClusterId: cluster})
			check("a hello", err, want)

			_, err = calls.List(ctx, &serverpb.ListRequest{ClusterId: cluster})
			check("a list", err, want)

			_, err = calls.AffiliateDelete(ctx, &serverpb.AffiliateDeleteRequest{ClusterId: cluster, AffiliateId: "unknown"})
			check("a deletion", err, want)
			check("a watch", firstMessage(ctx, calls, cluster), want)
		}

		_, err := calls.AffiliateDelete(ctx, &serverpb.AffiliateDeleteRequest{ClusterId: "a cluster"})
		check("a deletion of nobody", err, noID)

		_, err = calls.AffiliateDelete(ctx, &serverpb.AffiliateDeleteRequest{
			ClusterId: "a cluster", AffiliateId: strings.Repeat("a", mostIDBytes+1),
		})
		check("a deletion of a long id", err, longID)

		// The library's client would end at an endpoint without a byte, so it is not to get one.
		_, err = calls.AffiliateUpdate(ctx, update(func(r *request) { r.AffiliateEndpoints[0] = nil }))
		wrong = append(wrong, report.Equal("the answer to an empty endpoint", status.Code(err), codes.InvalidArgument))

		return errors.Join(wrong...)
	})
}

// firstMessage begins a watch and ends it.
func firstMessage(ctx context.Context, calls serverpb.ClusterClient, cluster string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	stream, err := calls.Watch(ctx, &serverpb.WatchRequest{ClusterId: cluster})
	if err == nil {
		_, err = stream.Recv()
	}

	return err
}

// full is a cluster and an affiliate that can take no more.
func (l *lab) full(string) error {
	cluster := newID()

	if err := l.fill(cluster); err != nil {
		return err
	}

	named := func(id string, endpoints ...[]byte) *serverpb.AffiliateUpdateRequest {
		return update(func(r *serverpb.AffiliateUpdateRequest) {
			r.ClusterId, r.AffiliateId, r.AffiliateEndpoints = cluster, id, endpoints
		})
	}

	return l.service.calls(func(ctx context.Context, calls serverpb.ClusterClient) error {
		_, one := calls.AffiliateUpdate(ctx, named("one more"))
		_, known := calls.AffiliateUpdate(ctx, named("0", numbered(0, mostEndpoints-1)...))
		_, many := calls.AffiliateUpdate(ctx, named("0", numbered(mostEndpoints-2, 4)...))
		_, again := calls.AffiliateUpdate(ctx, named("0", numbered(0, mostEndpoints)...))

		list, err := calls.List(ctx, &serverpb.ListRequest{ClusterId: cluster})
		if err != nil {
			return err
		}

		var stored int

		for _, affiliate := range list.Affiliates {
			if affiliate.Id == "0" {
				stored = len(affiliate.Endpoints)
			}
		}

		elsewhere := update(func(r *serverpb.AffiliateUpdateRequest) {
			r.ClusterId, r.AffiliateEndpoints = newID(), numbered(0, mostEndpoints+1)
		})
		_, first := calls.AffiliateUpdate(ctx, elsewhere)

		other, err := calls.List(ctx, &serverpb.ListRequest{ClusterId: elsewhere.ClusterId})
		if err != nil {
			return err
		}

		if len(other.Affiliates) != 1 {
			return fmt.Errorf("an affiliate that came with too many endpoints is there %d times", len(other.Affiliates))
		}

		const noRoom = "ResourceExhausted: too many endpoints in the affiliate"

		return errors.Join(
			report.Equal("the answer to one affiliate more", answer(one), "ResourceExhausted: too many affiliates in the cluster"),
			report.Equal("the number of affiliates", len(list.Affiliates), mostAffiliates),
			report.Equal("the answer to endpoints for which there is room", answer(known), ""),
			report.Equal("the answer to endpoints for some of which there is none", answer(many), noRoom),
			report.Equal("the answer to all known ones", answer(again), ""),
			report.Equal("the number of endpoints", stored, mostEndpoints),
			report.Equal("the answer to a new affiliate with too many", answer(first), noRoom),
			report.Equal("the number of its endpoints", len(other.Affiliates[0].Endpoints), mostEndpoints),
		)
	})
}

// fill adds as many affiliates to a cluster as it takes, from as many addresses as that needs.
func (l *lab) fill(cluster string) error {
	const each = 32

	var (
		done   sync.WaitGroup
		failed = make(chan error, mostAffiliates/each)
	)

	for begin := 0; begin < mostAffiliates; begin += each {
		done.Go(func() {
			failed <- l.service.calls(func(ctx context.Context, calls serverpb.ClusterClient) error {
				for number := range each {
					_, err := calls.AffiliateUpdate(ctx, update(func(r *serverpb.AffiliateUpdateRequest) {
						r.ClusterId, r.AffiliateId, r.AffiliateData = cluster, fmt.Sprint(begin+number), nil
						r.AffiliateEndpoints = nil
					}))
					if err != nil {
						return err
					}
				}

				return nil
			})
		})
	}

	done.Wait()
	close(failed)

	var errs []error

	for err := range failed {
		errs = append(errs, err)
	}

	return errors.Join(errs...)
}

// numbered are different endpoints.
func numbered(first, number int) [][]byte {
	made := make([][]byte, number)
	for i := range made {
		made[i] = fmt.Appendf(nil, "endpoint %d", first+i)
	}

	return made
}

// asIs is a codec for messages that are bytes.
type asIs struct{}

func (asIs) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil } //nolint:forcetypeassert

func (asIs) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = data //nolint:forcetypeassert

	return nil
}

func (asIs) Name() string { return "proto" }

var _ encoding.Codec = asIs{}

// malformed are calls that no library makes.
func (l *lab) malformed(string) error {
	conn, calls, err := l.service.connect()
	if err != nil {
		return err
	}

	defer conn.Close() //nolint:errcheck

	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()

	send := func(name string, message []byte) codes.Code {
		var got []byte

		return status.Code(conn.Invoke(ctx, method+name, &message, &got, grpc.ForceCodec(asIs{})))
	}

	_, after := calls.Hello(ctx, &serverpb.HelloRequest{ClusterId: "a cluster"})

	return errors.Join(
		report.Equal("the answer to a method that does not exist", send("Nothing", nil), codes.Unimplemented),
		report.Equal("the answer to a message cut short", send("Hello", []byte{0x0a, 0x10, 'a'}), codes.Internal),
		report.Equal("the answer to noise", send("AffiliateUpdate", []byte("\xff\xff\xff\xff noise")), codes.Internal),
		report.Equal("the answer to a huge message", send("List", make([]byte, 5<<20)), codes.ResourceExhausted),
		report.Equal("the answer to a call after these", answer(after), ""),
	)
}

const (
	flood      = 200
	burst      = 60
	floodTime  = 4 * time.Second
	tooManyNow = "ResourceExhausted: rate limit exceeds request timeout"
)

// flood is too many calls from one address, beside one from another.
func (l *lab) flood(string) error {
	conn, calls, err := l.service.connect()
	if err != nil {
		return err
	}

	defer conn.Close() //nolint:errcheck

	ctx, cancel := context.WithTimeout(context.Background(), floodTime)
	defer cancel()

	answers := make(chan error, flood)

	for range flood {
		go func() {
			_, err := calls.Hello(ctx, &serverpb.HelloRequest{ClusterId: "a cluster"})
			answers <- err
		}()
	}

	elsewhere := l.service.calls(func(ctx context.Context, calls serverpb.ClusterClient) error {
		_, err := calls.Hello(ctx, &serverpb.HelloRequest{ClusterId: "a cluster"})

		return err
	})

	counted := map[string]int{}
	for range flood {
		counted[answer(<-answers)]++
	}

	if counted[""] < burst || counted[tooManyNow] == 0 {
		return fmt.Errorf("%d calls at once were answered %v", flood, counted)
	}

	return elsewhere
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	serverpb "github.com/siderolabs/discovery-api/api/v1alpha1/server/pb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"omni/tests/peers/internal/report"
)

// planned is a restart in which the service is told to end, so that nothing fails.
const planned = "planned"

// join starts the nodes that live on, as many as the argument says.
func (l *lab) join(argument string) error {
	cluster, err := l.gather(argument)
	if err != nil {
		return err
	}

	l.lasting = cluster

	for i, node := range cluster.nodes {
		if err = cluster.publish(node, strconv.Itoa(i), []netip.Addr{ownAddress(node)}); err != nil {
			return err
		}
	}

	defer cluster.mark()

	return cluster.until(cluster.everybody)
}

// survived is what holds after the service was restarted.
func (l *lab) survived(how string) error {
	if err := l.lasting.until(l.lasting.watchingAgain); err != nil {
		return err
	}

	return l.unharmed(how)
}

// noticed is time for a client to notice that its connection is gone.
const noticed = 500 * time.Millisecond

// rolled is what holds after one of several processes of the service ended: those who were not at it noticed nothing.
func (l *lab) rolled(how string) error {
	time.Sleep(noticed)

	if err := l.lasting.until(l.lasting.watching); err != nil {
		return err
	}

	return l.unharmed(how)
}

// unharmed holds when nobody was lost and news reaches everybody.
func (l *lab) unharmed(how string) error {
	cluster := l.lasting

	defer cluster.mark()

	return report.First(
		func() error { return cluster.refresh(fmt.Sprintf("after-%d", cluster.nodes[0].begun())) },
		cluster.losses,
		func() error {
			if how == planned {
				return cluster.failures()
			}

			return nil
		},
	)
}

// moved is what holds after the service sent everybody to another one, which does not know them.
func (l *lab) moved(target string) error {
	cluster := l.lasting

	defer cluster.mark()

	return report.First(
		func() error {
			return cluster.until(func() error {
				for _, node := range cluster.nodes {
					if err := report.Equal("where "+node.id+" watches", node.at(), target); err != nil {
						return err
					}
				}

				return cluster.everybody()
			})
		},
		func() error {
			for _, node := range cluster.nodes {
				node.forgive()
			}

			return cluster.refresh("moved")
		},
		cluster.losses,
		cluster.failures,
	)
}

// leave stops the nodes that joined, after they have said so.
func (l *lab) leave(string) error {
	cluster := l.lasting
	cluster.nodes[0].DeleteLocalAffiliate()

	defer cluster.stop()

	return cluster.until(func() error {
		for _, node := range cluster.nodes[1:] {
			if err := node.knows(others(cluster.nodes[1:], node)...); err != nil {
				return err
			}
		}

		return nil
	})
}

const (
	writers    = 8
	perCluster = 50

	// enough is how many updates a writer has made when it is said to write; the limit of rates does not hold it up yet.
	enough = 30
)

// writing is updates that go on all the time, and what the service has acknowledged of them.
type writing struct {
	cluster string
	cancel  context.CancelFunc
	ended   sync.WaitGroup

	mu     sync.Mutex
	number int
	failed []error

	// possible is what the data of each affiliate may be: what was acknowledged last, and what was sent since then
	// without an answer. One that was never acknowledged may be missing.
	possible map[string][][]byte
}

// write begins to update all the time, from several addresses.
func (l *lab) write(string) error {
	ctx, cancel := context.WithCancel(context.Background())
	made := &writing{cluster: newID(), cancel: cancel, possible: map[string][][]byte{}}
	l.writing = made

	var begun sync.WaitGroup

	for number := range writers {
		conn, calls, err := l.service.connect()
		if err != nil {
			return err
		}

		begun.Add(1)
		made.ended.Go(func() {
			defer conn.Close() //nolint:errcheck

			for i := 0; ctx.Err() == nil; i++ {
				made.update(calls, fmt.Sprintf("affiliate-%d-%d", number, i%perCluster))

				if i == enough {
					begun.Done()
				}
			}
		})
	}

	begun.Wait()

	return nil
}

func (w *writing) update(calls serverpb.ClusterClient, affiliate string) {
	data := random(500)

	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()

	_, err := calls.AffiliateUpdate(ctx, &serverpb.AffiliateUpdateRequest{
		ClusterId:     w.cluster,
		AffiliateId:   affiliate,
		AffiliateData: data,
		Ttl:           durationpb.New(talosTTL),
	}, grpc.WaitForReady(true))

	w.mu.Lock()
	defer w.mu.Unlock()

	w.number++

	if err == nil {
		w.possible[affiliate] = [][]byte{data}

		return
	}

	w.failed = append(w.failed, err)

	if _, ok := w.possible[affiliate]; !ok {
		w.possible[affiliate] = [][]byte{nil}
	}

	w.possible[affiliate] = append(w.possible[affiliate], data)
}

// written ends the writing, after the service was restarted: all that it acknowledged has to be there.
func (l *lab) written(how string) error {
	writing := l.writing
	writing.cancel()
	writing.ended.Wait()

	for _, err := range writing.failed {
		if how == planned || status.Code(err) != codes.Unavailable {
			return fmt.Errorf("%d of %d updates failed: %w", len(writing.failed), writing.number, err)
		}
	}

	return l.service.calls(func(ctx context.Context, calls serverpb.ClusterClient) error {
		answer, err := calls.List(ctx, &serverpb.ListRequest{ClusterId: writing.cluster}, grpc.WaitForReady(true))
		if err != nil {
			return err
		}

		there := map[string][]byte{}
		for _, affiliate := range answer.Affiliates {
			there[affiliate.Id] = affiliate.Data
		}

		var wrong []string

		for id, possible := range writing.possible {
			if !slices.ContainsFunc(possible, func(data []byte) bool { return bytes.Equal(data, there[id]) }) {
				wrong = append(wrong, id)
			}
		}

		if len(wrong) > 0 {
			return fmt.Errorf("%d of %d affiliates are not as acknowledged, as %s", len(wrong), len(writing.possible), wrong[0])
		}

		return nil
	})
}

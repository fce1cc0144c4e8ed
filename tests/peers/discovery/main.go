// discovery is the nodes of a cluster as they find each other: Talos' own discovery client, and the bare calls below
// it. It does what its standard input says, one step a line, and reports each step as a check.
//
//	discovery -endpoint HOST:PORT [-roots FILE]
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"omni/tests/peers/internal/report"
)

func main() {
	service, err := parse()
	if err != nil {
		report.Fatal(err)
	}

	lab := &lab{service: service}

	steps := map[string]func(argument string) error{
		"pair":            lab.pair,
		"expiry":          lab.expiry,
		"endpoint-expiry": lab.endpointExpiry,
		"crowd":           lab.crowd,
		"join":            lab.join,
		"survived":        lab.survived,
		"rolled":          lab.rolled,
		"moved":           lab.moved,
		"leave":           lab.leave,
		"write":           lab.write,
		"written":         lab.written,
		"refused":         lab.refused,
		"full":            lab.full,
		"malformed":       lab.malformed,
		"flood":           lab.flood,
		"streams":         lab.streams,
		"quiet":           lab.quiet,
		"undisturbed":     lab.undisturbed,
		"proxied":         lab.proxied,
		"tls":             lab.tls,
		"authority":       lab.authority,
	}

	input := bufio.NewScanner(os.Stdin)

	for input.Scan() {
		name, argument, _ := strings.Cut(input.Text(), " ")

		step, ok := steps[name]
		if !ok {
			report.Fatal(fmt.Errorf("no such step: %s", name))
		}

		report.Check(strings.TrimSpace(name+" "+argument), step(argument))
	}

	report.Exit()
}

// lab is what the steps have in common.
type lab struct {
	service service

	// lasting is the cluster that lives from one step to others.
	lasting *cluster
	writing *writing
	silence *silence
}

func parse() (service, error) {
	var (
		made  service
		roots string
	)

	flag.StringVar(&made.endpoint, "endpoint", "", "the service, HOST:PORT")
	flag.StringVar(&roots, "roots", "", "PEM file of the authorities behind TLS; without it there is no TLS")
	flag.Parse()

	if made.endpoint == "" {
		return made, errors.New("-endpoint is missing")
	}

	if roots == "" {
		return made, nil
	}

	return made, made.trust(roots)
}

// trust makes the service one behind TLS whose certificate comes from the authorities in a file.
func (s *service) trust(roots string) error {
	data, err := os.ReadFile(roots)
	if err != nil {
		return err
	}

	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return fmt.Errorf("there is no certificate in %s", roots)
	}

	s.tls = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}

	return nil
}

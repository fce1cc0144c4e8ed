// siderolink is a machine made of Talos' own parts: the siderolink client library and wireguard-go on its netstack,
// so that no network device is needed. It does what its standard input says, one step a line, and reports each step
// as a check.
//
//	siderolink -api grpc://HOST:PORT -transport udp|grpc -token TOKEN [-roots FILE]
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"

	"omni/tests/peers/internal/report"
)

func main() {
	machine, err := newMachine()
	if err != nil {
		report.Fatal(err)
	}

	defer machine.close()

	steps := map[string]func(argument string) error{
		"refused":   machine.refused,
		"malformed": machine.malformed,
		"provision": machine.provisionStep,
		"connect":   machine.connect,
		"serve":     machine.serve,
		"event":     machine.event,
		"log":       machine.log,
		"trust":     machine.trust,
		"again":     machine.again,
		"replaced":  machine.replaced,
		"removed":   machine.removed,
	}

	input := bufio.NewScanner(os.Stdin)

	for input.Scan() {
		name, argument, _ := strings.Cut(input.Text(), " ")

		step, ok := steps[name]
		if !ok {
			report.Fatal(fmt.Errorf("no such step: %s", name))
		}

		report.Check(name, step(argument))
	}

	report.Exit()
}

// options are the command line.
type options struct {
	api, transport, token, roots string
}

func parse() options {
	var given options

	flag.StringVar(&given.api, "api", "", "machine API, grpc://HOST:PORT or https://HOST:PORT")
	flag.StringVar(&given.transport, "transport", "udp", "udp or grpc")
	flag.StringVar(&given.token, "token", "", "join token")
	flag.StringVar(&given.roots, "roots", "", "PEM file of the authorities behind https")
	flag.Parse()

	return given
}

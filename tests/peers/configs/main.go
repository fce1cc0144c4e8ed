// configs holds what the control plane generates against Talos' own library: configurations, patches, bundles,
// certificates and client configurations.
//
// "configs prepare DIR" writes a bundle and a certificate request made by the library; "configs check DIR" checks
// what was made of them and of a bundle of the control plane's own.
package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/siderolabs/crypto/x509"
	"github.com/siderolabs/talos/pkg/machinery/config"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"

	"omni/tests/peers/internal/report"
)

// made is what the control plane hands over, as JSON in DIR/made.json.
type made struct {
	Bundles      map[string]string `json:"bundles"`
	Configs      []configuration   `json:"configs"`
	Partial      []partial         `json:"partial"`
	Clients      []client          `json:"clients"`
	Server       keyPair           `json:"server"`
	Signed       string            `json:"signed"`
	TalosConfigs []string          `json:"talosConfigs"`
}

type keyPair struct {
	CA  string `json:"ca"`
	Crt string `json:"crt"`
	Key string `json:"key"`
}

func main() {
	if len(os.Args) != 3 {
		report.Fatal(errors.New("usage: configs prepare|check DIR"))
	}

	var err error

	switch command, folder := os.Args[1], os.Args[2]; command {
	case "prepare":
		err = prepare(folder)
	case "check":
		err = check(folder)
	default:
		err = errors.New("no such command: " + command)
	}

	if err != nil {
		report.Fatal(err)
	}

	report.Exit()
}

func prepare(folder string) error {
	bundle, err := secrets.NewBundle(secrets.NewClock(), config.TalosVersion1_14)
	if err != nil {
		return err
	}

	request, identity, err := x509.NewEd25519CSRAndIdentity(x509.CommonName("worker-1"), x509.DNSNames([]string{"worker-1"}))
	if err != nil {
		return err
	}

	text, err := encodeBundle(bundle)
	if err != nil {
		return err
	}

	for name, content := range map[string][]byte{
		"bundle.yaml": []byte(text),
		"request.pem": request.X509CertificateRequestPEM,
		"request.key": identity.Key,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			return err
		}
	}

	return nil
}

func check(folder string) error {
	data, err := os.ReadFile(filepath.Join(folder, "made.json"))
	if err != nil {
		return err
	}

	var all made

	if err = json.Unmarshal(data, &all); err != nil {
		return err
	}

	requestKey, err := os.ReadFile(filepath.Join(folder, "request.key"))
	if err != nil {
		return err
	}

	bundles := checkBundles(all.Bundles)

	for _, made := range all.Configs {
		report.Check(made.Name, made.check(bundles[made.Bundle]))
	}

	for _, made := range all.Partial {
		report.Check(made.Name, made.check())
	}

	for _, client := range all.Clients {
		report.Check(client.Name, client.check(all.Server))
	}

	report.Check("a signed worker's request serves apid", checkSigned(all, requestKey))

	for _, text := range all.TalosConfigs {
		report.Check("a talosconfig is read and written back the same", checkTalosConfig(text))
	}

	return nil
}

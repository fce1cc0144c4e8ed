package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/siderolabs/talos/pkg/machinery/config"
	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"github.com/siderolabs/talos/pkg/machinery/config/configpatcher"
	"github.com/siderolabs/talos/pkg/machinery/config/encoder"
	"github.com/siderolabs/talos/pkg/machinery/config/generate"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"
	"github.com/siderolabs/talos/pkg/machinery/config/machine"
	"github.com/siderolabs/talos/pkg/machinery/config/types/v1alpha1"
	"go.yaml.in/yaml/v4"

	"omni/tests/peers/internal/report"
)

// configuration is one generated configuration and what it was made from.
type configuration struct {
	Name       string   `json:"name"`
	Bundle     string   `json:"bundle"`
	Contract   string   `json:"contract"`
	Type       string   `json:"type"`
	Cluster    string   `json:"cluster"`
	Endpoint   string   `json:"endpoint"`
	Kubernetes string   `json:"kubernetes"`
	Options    options  `json:"options"`
	Patches    []string `json:"patches"`
	Config     string   `json:"config"`
}

type options struct {
	InstallDisk                    string              `json:"install_disk"`
	InstallImage                   string              `json:"install_image"`
	InstallExtraKernelArgs         []string            `json:"install_extra_kernel_args"`
	SkipUnattendedInstall          bool                `json:"skip_unattended_install"`
	AdditionalSANs                 []string            `json:"additional_sans"`
	DNSDomain                      string              `json:"dns_domain"`
	CustomCNIURL                   string              `json:"custom_cni_url"`
	Nameservers                    []string            `json:"nameservers"`
	Sysctls                        map[string]string   `json:"sysctls"`
	RegistryMirrors                map[string][]string `json:"registry_mirrors"`
	InsecureRegistries             []string            `json:"insecure_registries"`
	AllowSchedulingOnControlPlanes bool                `json:"allow_scheduling_on_control_planes"`
	LocalAPIServerPort             int                 `json:"local_api_server_port"`
	KubePrismPort                  int                 `json:"kube_prism_port"`
	Discovery                      bool                `json:"discovery"`
	KubeSpan                       *bool               `json:"kubespan"`
	Debug                          bool                `json:"debug"`
}

// library turns the options into those of the library; what was not chosen is not passed.
func (o options) library() []generate.Option {
	result := []generate.Option{
		generate.WithInstallDisk(o.InstallDisk),
		generate.WithInstallImage(o.InstallImage),
		generate.WithInstallExtraKernelArgs(o.InstallExtraKernelArgs),
		generate.WithSkipUnattendedInstallConfig(o.SkipUnattendedInstall),
		generate.WithAdditionalSubjectAltNames(o.AdditionalSANs),
		generate.WithDNSDomain(o.DNSDomain),
		generate.WithCustomCNIUrl(o.CustomCNIURL),
		generate.WithAllowSchedulingOnControlPlanes(o.AllowSchedulingOnControlPlanes),
		generate.WithLocalAPIServerPort(o.LocalAPIServerPort),
		generate.WithKubePrismPort(o.KubePrismPort),
		generate.WithClusterDiscovery(o.Discovery),
		generate.WithDebug(o.Debug),
	}

	if len(o.Sysctls) > 0 {
		result = append(result, generate.WithSysctls(o.Sysctls))
	}

	if len(o.Nameservers) > 0 {
		result = append(result, generate.WithNetworkOptions(v1alpha1.WithNetworkNameservers(o.Nameservers...)))
	}

	if o.KubeSpan != nil {
		result = append(result, generate.WithKubeSpanEnabled(*o.KubeSpan))
	}

	for _, host := range slices.Sorted(maps.Keys(o.RegistryMirrors)) {
		result = append(result, generate.WithRegistryMirror(host, o.RegistryMirrors[host]...))
	}

	for _, host := range o.InsecureRegistries {
		result = append(result, generate.WithRegistryInsecureSkipVerify(host))
	}

	return result
}

// check loads and validates the configuration, and compares it with what the library generates from the same input.
func (made configuration) check(bundle *secrets.Bundle) error {
	if bundle == nil {
		return errors.New("its bundle cannot be used")
	}

	loaded, err := load(made.Config)
	if err != nil {
		return err
	}

	if !loaded.CompleteForBoot() {
		return errors.New("it is not complete for a boot")
	}

	contract, err := config.ParseContractFromVersion(made.Contract)
	if err != nil {
		return err
	}

	if err = bundle.Validate(contract); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}

	generated, err := made.generate(bundle, contract)
	if err != nil {
		return fmt.Errorf("the library does not generate it: %w", err)
	}

	return report.SameText("the configurations", made.Config, generated)
}

func (made configuration) generate(bundle *secrets.Bundle, contract *config.VersionContract) (string, error) {
	options := append(made.Options.library(), generate.WithSecretsBundle(bundle), generate.WithVersionContract(contract))

	input, err := generate.NewInput(made.Cluster, made.Endpoint, made.Kubernetes, options...)
	if err != nil {
		return "", err
	}

	machineType, err := machine.ParseType(made.Type)
	if err != nil {
		return "", err
	}

	generated, err := input.Config(machineType)
	if err != nil {
		return "", err
	}

	patches, err := configpatcher.LoadPatches(made.Patches)
	if err != nil {
		return "", err
	}

	patched, err := configpatcher.Apply(configpatcher.WithConfig(generated), patches)
	if err != nil {
		return "", err
	}

	result, err := patched.Config()
	if err != nil {
		return "", err
	}

	return encode(result)
}

// partial is a configuration that a machine takes in maintenance mode: documents without the rest.
type partial struct {
	Name   string   `json:"name"`
	Config string   `json:"config"`
	Kinds  []string `json:"kinds"`
}

func (made partial) check() error {
	loaded, err := load(made.Config)
	if err != nil {
		return err
	}

	if loaded.CompleteForBoot() {
		return errors.New("it is complete for a boot, and should not be")
	}

	var kinds []string

	for _, document := range loaded.Documents() {
		kinds = append(kinds, document.Kind())
	}

	if !slices.Equal(kinds, made.Kinds) {
		return fmt.Errorf("its documents are %v, want %v", kinds, made.Kinds)
	}

	return nil
}

// metal stands for a machine that is not a container and has to be installed.
type metal struct{}

func (metal) String() string        { return "metal" }
func (metal) RequiresInstall() bool { return true }
func (metal) InContainer() bool     { return false }

func load(text string) (config.Provider, error) {
	loaded, err := configloader.NewFromBytes([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("the loader refuses it: %w", err)
	}

	warnings, err := loaded.ValidateAsClient(metal{})
	if err != nil {
		return nil, fmt.Errorf("the validator refuses it: %w", err)
	}

	if len(warnings) > 0 {
		return nil, fmt.Errorf("the validator warns: %v", warnings)
	}

	again, err := encode(loaded)
	if err != nil {
		return nil, err
	}

	return loaded, report.SameText("the configuration and what the library writes back", text, again)
}

func encode(provider config.Provider) (string, error) {
	text, err := provider.EncodeString(encoder.WithComments(encoder.CommentsDisabled))

	return text, err
}

// checkBundles reads the bundles, holds what the library writes of each against its text, and returns them by name.
func checkBundles(texts map[string]string) map[string]*secrets.Bundle {
	bundles := map[string]*secrets.Bundle{}

	for _, name := range slices.Sorted(maps.Keys(texts)) {
		var bundle *secrets.Bundle

		report.Check("bundle of "+name, func() error {
			if err := yaml.Unmarshal([]byte(texts[name]), &bundle); err != nil {
				return err
			}

			bundle.Clock = secrets.NewClock()
			bundles[name] = bundle

			text, err := encodeBundle(bundle)
			if err != nil {
				return err
			}

			return report.SameText("the bundle and what the library writes back", texts[name], text)
		}())
	}

	return bundles
}

// encodeBundle writes a bundle as talosctl does.
func encodeBundle(bundle *secrets.Bundle) (string, error) {
	var buffer bytes.Buffer

	encoder := yaml.NewEncoder(&buffer)
	if err := encoder.Encode(bundle); err != nil {
		return "", err
	}

	return buffer.String(), encoder.Close()
}

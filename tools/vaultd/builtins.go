package main

import (
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
)

// builtins tells the plugin catalog of the three engines that are compiled in. Without it the core
// refuses to mount them.
type builtins struct{}

var engines = map[consts.PluginType]map[string]logical.Factory{
	consts.PluginTypeCredential: {"approle": approle.Factory},
	consts.PluginTypeSecrets:    {"kv": kv.Factory, "transit": transit.Factory},
}

// Contains reports whether the engine is one of ours.
func (builtins) Contains(name string, kind consts.PluginType) bool {
	_, ok := engines[kind][name]
	return ok
}

// Get returns what makes the engine, in the form that the catalog wants.
func (builtins) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	factory, ok := engines[kind][name]
	return func() (any, error) { return factory, nil }, ok
}

// Keys lists the engines of a kind.
func (builtins) Keys(kind consts.PluginType) []string {
	var names []string
	for name := range engines[kind] {
		names = append(names, name)
	}
	return names
}

// DeprecationStatus says that all are supported.
func (builtins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, true
}

// IsBuiltinEntPlugin says that none is an enterprise one.
func (builtins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

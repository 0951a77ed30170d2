# What a router may do: open. It cannot seal, rewrap or list.
#
# "{{environment}}" stands for the installation's name; see README.md. Vault refuses the file as long
# as it stands there.

path "transit/decrypt/claviger-{{environment}}" {
  capabilities = ["update"]
}

# The pepper under which API keys are hashed.
path "secret/data/claviger/api-key-pepper" {
  capabilities = ["read"]
}

# The role has no "default" policy, so that its own token's renewal has to be allowed here.
path "auth/token/renew-self" {
  capabilities = ["update"]
}

# What the service keys may do: seal and rewrap. It cannot open what it has sealed.
#
# "{{environment}}" stands for the installation's name; see README.md. Vault refuses the file as long
# as it stands there.

# "update" and not "create": with "create" a mistyped key name would silently make a new key.
path "transit/encrypt/claviger-{{environment}}" {
  capabilities = ["update"]
}

# Rotation without seeing a plaintext.
path "transit/rewrap/claviger-{{environment}}" {
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

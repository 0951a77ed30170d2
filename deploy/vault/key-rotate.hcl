# What the rotation job may do: make a new version of the key and say which versions still open. It
# can neither seal nor open. The service keys rewraps what is sealed (keys-seal.hcl).
#
# "{{environment}}" stands for the installation's name; see README.md. Vault refuses the file as long
# as it stands there.

path "transit/keys/claviger-{{environment}}/rotate" {
  capabilities = ["update"]
}

# min_decryption_version, and nothing that would let the key out.
path "transit/keys/claviger-{{environment}}/config" {
  capabilities = ["update"]
  allowed_parameters = {
    "min_decryption_version" = []
  }
}

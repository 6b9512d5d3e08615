"""The contract of the recovery-codes service. Modules are under recoverycodes.stytch, by the paths of their .proto files."""

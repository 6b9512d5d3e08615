# A complete caller of the recovery-codes service in Ruby, against the sandbox that `make run` starts. It reads a member's
# codes, spends one, and replaces them all. Generate the contract first, with grpc-tools 1.57 or later:
#
#   mkdir -p lib && grpc_tools_ruby_protoc -I proto --ruby_out=lib --grpc_out=lib $(find proto -name '*.proto')
#   ruby -Ilib client/examples/ruby/main.rb example-org member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f

require 'grpc'
require 'json'
require 'securerandom'
require 'google/protobuf/well_known_types'
require 'google/rpc/error_details_pb'
require 'stytch/b2b/recoverycodes/v1/recovery_codes_services_pb'

include Stytch::B2b::Recoverycodes::V1

# More than the 31 seconds that the service gives one call, so that its verdict arrives before we give up.
TIME_LIMIT = 35

# [retries]
# Get may be sent again. Recover and Rotate must not: they are named here without a policy.
SERVICE = 'stytch.b2b.recoverycodes.v1.RecoveryCodesService'
SERVICE_CONFIG = JSON.generate(
  methodConfig: [
    {
      name: [{ service: SERVICE, method: 'Get' }],
      retryPolicy: {
        maxAttempts: 3, initialBackoff: '0.1s', maxBackoff: '1s', backoffMultiplier: 2,
        retryableStatusCodes: ['UNAVAILABLE']
      }
    },
    { name: [{ service: SERVICE, method: 'Recover' }, { service: SERVICE, method: 'Rotate' }] }
  ]
)
# [/retries]

# [connect]
# A program needs one stub, made at start.
def connect
  credentials = :this_channel_is_insecure # plaintext is for loopback
  if (ca_file = ENV['RECOVERYCODES_CA_FILE'])
    token = ENV.fetch('RECOVERYCODES_TOKEN')
    credentials = GRPC::Core::ChannelCredentials.new(File.read(ca_file)).compose(
      GRPC::Core::CallCredentials.new(->(_) { { 'authorization' => "Bearer #{token}" } })
    )
  end
  RecoveryCodesService::Stub.new(
    ENV.fetch('RECOVERYCODES_SERVER', '127.0.0.1:50051'), credentials,
    channel_args: {
      'grpc.service_config' => SERVICE_CONFIG,
      'grpc.service_config_disable_resolution' => 1 # DNS has no say in what is sent again
    }
  )
end
# [/connect]

# [errors]
# The google.rpc.ErrorInfo of the service or of Stytch in a GRPC::BadStatus, or nil.
def error_info(error)
  details = error.to_rpc_status&.details || []
  details.filter_map { |detail| detail.unpack(Google::Rpc::ErrorInfo) if detail.is(Google::Rpc::ErrorInfo) }
         .find { |info| %w[recoverycodes.internal stytch.com].include?(info.domain) }
end

REFUSALS = [
  GRPC::InvalidArgument, GRPC::NotFound, GRPC::AlreadyExists, GRPC::PermissionDenied, GRPC::FailedPrecondition,
  GRPC::OutOfRange, GRPC::Unimplemented, GRPC::Unauthenticated, GRPC::ResourceExhausted, GRPC::Internal
].freeze

# What is known of a Recover or Rotate that failed: 'refused', 'not sent' or 'unknown'.
def outcome_of(error)
  info = error_info(error)
  return 'unknown' if info.nil? # made on the way, by gRPC or a proxy: the call may have passed

  if info.domain == 'recoverycodes.internal'
    return 'not sent' if info.reason == 'NOT_SENT'
    return 'unknown' if %w[OUTCOME_UNKNOWN ANSWER_LOST INTERNAL].include?(info.reason)
  end
  REFUSALS.include?(error.class) ? 'refused' : 'unknown'
end
# [/errors]

def describe(error)
  [outcome_of(error), error_info(error)&.reason].compact.join(', ')
end

def options(key)
  { deadline: Time.now + TIME_LIMIT, metadata: { 'idempotency-key' => key } }
end

abort 'usage: main.rb ORGANIZATION MEMBER' unless ARGV.length == 2
whom = { organization_id: ARGV[0], member_id: ARGV[1] }
service = connect
active = -> { service.get(GetRequest.new(**whom), deadline: Time.now + TIME_LIMIT).recovery_codes.to_a }

codes = active.call
puts "get: #{codes.length} active codes"

# [recover]
request = RecoverRequest.new(**whom, recovery_code: codes.first)
key = SecureRandom.uuid # one for each attempt of a person
begin
  session = service.recover(request, **options(key))
  puts "recover: done, #{session.recovery_codes_remaining} codes left"
rescue GRPC::BadStatus => e
  puts "recover: #{describe(e)}"
  if outcome_of(e) == 'unknown' # never send it again; Get tells
    state = active.call.include?(codes.first) ? 'active' : 'inactive'
    puts "resolve: the code is #{state}" # active is final only after the service's 31 seconds
  end
end
# [/recover]

if session
  # The same key and request is the same call: it is answered again, and spends nothing.
  again = service.recover(request, **options(key))
  puts "recover, same key: the same session: #{again.session_token == session.session_token}"
  # A session that there is not: Stytch refuses the call, and neither spends the code nor counts it as a wrong one.
  begin
    service.recover(
      RecoverRequest.new(**whom, recovery_code: codes.last, session_token: 'of-no-session'), **options(SecureRandom.uuid)
    )
  rescue GRPC::BadStatus => e
    puts "recover, no such session: #{describe(e)}"
  end
end

begin
  rotated = service.rotate(RotateRequest.new(**whom), **options(SecureRandom.uuid))
  puts "rotate: done, #{rotated.recovery_codes.length} new codes"
rescue GRPC::BadStatus => e
  puts "rotate: #{describe(e)}"
  puts "resolve: #{active.call.length} codes are valid" if outcome_of(e) == 'unknown'
end

from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class AmazonOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class AppleOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class AuthenticatorAppFactor(_message.Message):
    __slots__ = ["totp_id"]
    TOTP_ID_FIELD_NUMBER: _ClassVar[int]
    totp_id: str
    def __init__(self, totp_id: _Optional[str] = ...) -> None: ...

class BiometricFactor(_message.Message):
    __slots__ = ["biometric_registration_id"]
    BIOMETRIC_REGISTRATION_ID_FIELD_NUMBER: _ClassVar[int]
    biometric_registration_id: str
    def __init__(self, biometric_registration_id: _Optional[str] = ...) -> None: ...

class BitbucketOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class CoinbaseOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class CryptoWalletFactor(_message.Message):
    __slots__ = ["crypto_wallet_address", "crypto_wallet_id", "crypto_wallet_type"]
    CRYPTO_WALLET_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CRYPTO_WALLET_ID_FIELD_NUMBER: _ClassVar[int]
    CRYPTO_WALLET_TYPE_FIELD_NUMBER: _ClassVar[int]
    crypto_wallet_address: str
    crypto_wallet_id: str
    crypto_wallet_type: str
    def __init__(self, crypto_wallet_id: _Optional[str] = ..., crypto_wallet_address: _Optional[str] = ..., crypto_wallet_type: _Optional[str] = ...) -> None: ...

class DiscordOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class EmailFactor(_message.Message):
    __slots__ = ["email_address", "email_id"]
    EMAIL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    email_address: str
    email_id: str
    def __init__(self, email_id: _Optional[str] = ..., email_address: _Optional[str] = ...) -> None: ...

class EmbeddableMagicLinkFactor(_message.Message):
    __slots__ = ["embedded_id"]
    EMBEDDED_ID_FIELD_NUMBER: _ClassVar[int]
    embedded_id: str
    def __init__(self, embedded_id: _Optional[str] = ...) -> None: ...

class FacebookOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class FigmaOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class GitLabOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class GithubOAuthExchangeFactor(_message.Message):
    __slots__ = ["email_id"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    def __init__(self, email_id: _Optional[str] = ...) -> None: ...

class GithubOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class GoogleOAuthExchangeFactor(_message.Message):
    __slots__ = ["email_id"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    def __init__(self, email_id: _Optional[str] = ...) -> None: ...

class GoogleOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class HubspotOAuthExchangeFactor(_message.Message):
    __slots__ = ["email_id"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    def __init__(self, email_id: _Optional[str] = ...) -> None: ...

class HubspotOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class ImpersonatedFactor(_message.Message):
    __slots__ = ["impersonator_email_address", "impersonator_id"]
    IMPERSONATOR_EMAIL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    IMPERSONATOR_ID_FIELD_NUMBER: _ClassVar[int]
    impersonator_email_address: str
    impersonator_id: str
    def __init__(self, impersonator_id: _Optional[str] = ..., impersonator_email_address: _Optional[str] = ...) -> None: ...

class InstagramOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class LinkedInOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class MicrosoftOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class OAuthAccessTokenExchangeFactor(_message.Message):
    __slots__ = ["client_id"]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    def __init__(self, client_id: _Optional[str] = ...) -> None: ...

class OIDCSSOFactor(_message.Message):
    __slots__ = ["external_id", "id", "provider_id"]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    external_id: str
    id: str
    provider_id: str
    def __init__(self, id: _Optional[str] = ..., provider_id: _Optional[str] = ..., external_id: _Optional[str] = ...) -> None: ...

class PhoneNumberFactor(_message.Message):
    __slots__ = ["phone_id", "phone_number"]
    PHONE_ID_FIELD_NUMBER: _ClassVar[int]
    PHONE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    phone_id: str
    phone_number: str
    def __init__(self, phone_id: _Optional[str] = ..., phone_number: _Optional[str] = ...) -> None: ...

class RecoveryCodeFactor(_message.Message):
    __slots__ = ["totp_recovery_code_id"]
    TOTP_RECOVERY_CODE_ID_FIELD_NUMBER: _ClassVar[int]
    totp_recovery_code_id: str
    def __init__(self, totp_recovery_code_id: _Optional[str] = ...) -> None: ...

class SAMLSSOFactor(_message.Message):
    __slots__ = ["external_id", "id", "provider_id"]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    external_id: str
    id: str
    provider_id: str
    def __init__(self, id: _Optional[str] = ..., provider_id: _Optional[str] = ..., external_id: _Optional[str] = ...) -> None: ...

class SalesforceOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class ShopifyOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class SlackOAuthExchangeFactor(_message.Message):
    __slots__ = ["email_id"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    def __init__(self, email_id: _Optional[str] = ...) -> None: ...

class SlackOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class SnapchatOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class SpotifyOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class SteamOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class TikTokOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class TrustedAuthTokenFactor(_message.Message):
    __slots__ = ["token_id"]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    def __init__(self, token_id: _Optional[str] = ...) -> None: ...

class TwitchOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class TwitterOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

class WebAuthnFactor(_message.Message):
    __slots__ = ["domain", "user_agent", "webauthn_registration_id"]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    USER_AGENT_FIELD_NUMBER: _ClassVar[int]
    WEBAUTHN_REGISTRATION_ID_FIELD_NUMBER: _ClassVar[int]
    domain: str
    user_agent: str
    webauthn_registration_id: str
    def __init__(self, webauthn_registration_id: _Optional[str] = ..., domain: _Optional[str] = ..., user_agent: _Optional[str] = ...) -> None: ...

class YahooOAuthFactor(_message.Message):
    __slots__ = ["email_id", "id", "provider_subject"]
    EMAIL_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    email_id: str
    id: str
    provider_subject: str
    def __init__(self, id: _Optional[str] = ..., provider_subject: _Optional[str] = ..., email_id: _Optional[str] = ...) -> None: ...

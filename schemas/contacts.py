"""The contacts of a CRM.

The aliases are the headers in exports of HubSpot, Salesforce, Pipedrive, Google Contacts and Outlook, and the usual
headers in German. Each of these has one column for a field: where it has several telephone numbers, addresses or
companies, only one is an alias. `Name` is none, because it can be the whole name or the family name.
"""

from schemas.model import Date, Money, RecordModel, Text, Timestamp, field


class Contacts(RecordModel):
    """People and companies an account does business with, as a CRM exports them."""

    external_id: Text = field(
        "Identifier of the contact in the account's own system.",
        example="C-000042",
        required=True,
        aliases=(
            "id",
            "contact id",
            "customer id",
            "record id",
            "person - id",
            "kundennummer",
            "kunden-nr.",
            "kunden-id",
        ),
        str_length={"min_value": 1, "max_value": 64},
    )
    first_name: Text = field(
        "Given name.",
        example="Ada",
        personal=True,
        aliases=("given name", "forename", "person - first name", "vorname"),
    )
    last_name: Text = field(
        "Family name.",
        example="Lovelace",
        personal=True,
        aliases=("surname", "family name", "person - last name", "nachname", "familienname"),
    )
    company: Text = field(
        "Company the contact works for.",
        example="Analytical Engines",
        aliases=(
            "organisation",
            "organization",
            "company name",
            "account name",
            "organization name",
            "organization 1 - name",
            "person - organization",
            "firma",
            "firmenname",
            "unternehmen",
        ),
    )
    email: Text = field(
        "E-mail address.",
        example="ada@example.org",
        personal=True,
        aliases=("e-mail", "e-mail address", "mail", "e-mail 1 - value", "person - email - work", "e-mail-adresse"),
        str_matches={"pattern": r"^[^@\s]+@[^@\s]+\.[^@\s]+$", "error": "must be an e-mail address"},
    )
    phone: Text = field(
        "Telephone number, with its leading zeros or country code.",
        example="+44 20 7946 0000",
        personal=True,
        aliases=(
            "telephone",
            "phone number",
            "mobile",
            "business phone",
            "phone 1 - value",
            "person - phone - work",
            "telefon",
            "telefonnummer",
        ),
    )
    country: Text = field(
        "Country, ISO 3166-1 alpha-2.",
        example="GB",
        aliases=(
            "country code",
            "country/region",
            "mailing country",
            "address 1 - country",
            "home country/region",
            "land",
        ),
        country=True,
        str_matches={"pattern": r"^[A-Z]{2}$", "error": "must be two capital letters, as GB"},
    )
    status: Text = field(
        "Where the contact is in its life cycle.",
        example="customer",
        required=True,
        aliases=("lifecycle status", "lifecycle stage"),
        labels={
            "lead": ("Interessent", "piste", "interesado", "contatto"),
            "prospect": ("potenzieller Kunde", "client potentiel", "cliente potencial", "cliente potenziale"),
            "customer": ("Kunde", "client", "cliente"),
            "churned": ("ehemaliger Kunde", "ancien client", "antiguo cliente", "ex cliente"),
        },
        isin=["lead", "prospect", "customer", "churned"],
    )
    amount: Money = field(
        "Revenue so far, in the account's currency.",
        example="1250.00",
        aliases=("revenue", "total amount", "total revenue", "umsatz", "gesamtumsatz"),
        currency=True,
        ge=0,
    )
    credit_limit: Money = field(
        "Credit granted.", example="5000.00", aliases=("credit", "kreditlimit"), currency=True, ge=0
    )
    birthday: Date = field(
        "Date of birth.",
        example="1985-12-10",
        personal=True,
        aliases=("date of birth", "dob", "birthdate", "geburtsdatum", "geburtstag"),
    )
    signed_up: Timestamp = field(
        "Time of registration, with its offset from UTC.",
        example="2024-05-01T09:30:00Z",
        aliases=("signup date", "created at", "create date", "created date", "person - person created", "erstellt am"),
    )
    notes: Text = field(
        "Anything else; may hold line breaks.",
        example="Prefers to be called.",
        personal=True,
        aliases=("description", "notizen", "bemerkungen"),
    )

    class Config:
        """The type's name, key and presets."""

        name = "contacts"
        metadata = {
            "key": ("external_id",),
            "presets": {
                "mailing": ("external_id", "first_name", "last_name", "email", "country"),
                "revenue": ("external_id", "company", "country", "status", "amount"),
            },
        }

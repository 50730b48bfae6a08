"""A record type with a field of each kind, for the cases of how values are written."""

from schemas.model import Boolean, Date, Float, Integer, Money, RecordModel, Text, Timestamp, field


class Items(RecordModel):
    """Items in stock."""

    sku: Text = field("Identifier.", required=True)
    qty: Integer = field("How many.")
    weight: Float = field("Kilograms.")
    price: Money = field("Price of one.")
    active: Boolean = field("Whether it is sold.", labels={"true": ("wahr",), "false": ("falsch",)})
    seen: Timestamp = field("Last seen.")
    made: Date = field("Day of production.")

    class Config:
        name = "items"
        metadata = {"key": ("sku",)}

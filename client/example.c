/* example KEY SERVICES ORCHESTRATOR USER CART SKU PAYMENT_METHOD IDEMPOTENCY_KEY */
#include <checkout/client.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 9)
        return 2;
    checkout_client *client = NULL;
    struct checkout_error error;
    struct checkout_client_config config = {
        .size = sizeof config,
        .key_file = argv[1],
        .services_file = argv[2],
        .orchestrator_addresses = argv[3],
    };
    struct checkout_cart_line line = {.sku = argv[6], .quantity = 1};
    struct checkout_put_cart cart = {
        .user_id = argv[4], .cart_id = argv[5], .line_count = 1, .lines = &line};
    struct checkout_place_order place = {
        .user_id = argv[4],
        .cart_id = argv[5],
        .payment_method_id = argv[7],
        .idempotency_key = argv[8], /* kept until the answer is known, to ask again */
    };
    struct checkout_placed *placed = NULL;

    if (checkout_client_open(&config, &client, &error) == CHECKOUT_OK &&
        checkout_put_cart(client, &cart, NULL, NULL, &error) == CHECKOUT_OK &&
        checkout_place_order(client, &place, NULL, &placed, &error) == CHECKOUT_OK)
        printf("%s %lld %s\n", placed->order.order_id,
               (long long)placed->order.total_cents, placed->order.currency);
    else
        fprintf(stderr, "%s: %s\n", error.reason, error.message);
    int status = placed == NULL;
    checkout_free(placed);
    checkout_client_close(client);
    return status;
}
